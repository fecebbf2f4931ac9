/** The close codes of all Dialout sockets. `reconnect` says whether a client should dial again. */
export const CLOSE = {
  done: { code: 1000, reconnect: false },
  goingAway: { code: 1001, reconnect: true },
  policy: { code: 1008, reconnect: false },
  frameTooLarge: { code: 1009, reconnect: false },
  restart: { code: 1012, reconnect: true },
  malformed: { code: 4400, reconnect: false },
  notAuthenticated: { code: 4401, reconnect: false },
  notAllowed: { code: 4403, reconnect: false },
  notFound: { code: 4404, reconnect: false },
  registerTimeout: { code: 4408, reconnect: true },
  occupied: { code: 4409, reconnect: false },
  tooMany: { code: 4429, reconnect: true },
} as const;

/** Whether a client should dial again after a close with this code; true for unknown codes. */
export function shouldReconnect(closeCode: number): boolean {
  return Object.values(CLOSE).find((close) => close.code === closeCode)?.reconnect ?? true;
}

/** The HTTP status and title of every problem that Dialout answers with, by code. */
export const PROBLEMS = {
  invalid_json: { status: 400, title: "The body is not valid JSON" },
  invalid_request: { status: 422, title: "The request is not valid" },
  invalid_multipart: { status: 400, title: "The body is not valid multipart form data" },
  invalid_encoding: { status: 400, title: "The body can't be decompressed" },
  checksum_mismatch: { status: 400, title: "The content is not what was announced" },
  unsupported_media_type: { status: 415, title: "The content type is not supported" },
  attempt_over: { status: 410, title: "The attempt is over" },
  length_required: { status: 411, title: "The length of the body is missing" },
  payload_too_large: { status: 413, title: "The body is too large" },
  not_authenticated: { status: 401, title: "Not authenticated" },
  not_allowed: { status: 403, title: "Not allowed" },
  not_found: { status: 404, title: "Not found" },
  space_not_found: { status: 404, title: "No such space" },
  job_not_found: { status: 404, title: "No such job" },
  token_not_found: { status: 404, title: "No such token" },
  user_not_found: { status: 404, title: "No such user" },
  session_not_found: { status: 404, title: "No such session" },
  invitation_not_found: { status: 404, title: "No such invitation" },
  key_not_found: { status: 404, title: "No such key" },
  file_not_found: { status: 404, title: "No such file" },
  method_not_allowed: { status: 405, title: "The address does not take this method" },
  space_exists: { status: 409, title: "A space of this name exists" },
  limit_reached: { status: 409, title: "A limit is reached" },
  tokens_made_elsewhere: { status: 409, title: "Tokens are made elsewhere" },
  already_set_up: { status: 409, title: "The edge is set up already" },
  owns_spaces: { status: 409, title: "The user owns spaces" },
  last_admin: { status: 409, title: "It is the last admin" },
  job_exists: { status: 409, title: "A job of this id exists" },
  name_taken: { status: 409, title: "Another file has this name" },
  job_ended: { status: 409, title: "The job has ended" },
  idempotency_key_reused: { status: 409, title: "The idempotency key was used for another submit" },
  worker_not_connected: { status: 409, title: "No worker is connected" },
  prompt_not_enabled: { status: 422, title: "This space takes no prompt" },
  audio_not_enabled: { status: 422, title: "This space takes no audio" },
  video_not_enabled: { status: 422, title: "This space takes no video" },
  file_upload_not_enabled: { status: 422, title: "This space takes no files" },
  range_not_satisfiable: { status: 416, title: "The file has no such bytes" },
  rate_limited: { status: 429, title: "Too many requests" },
  queue_full: { status: 429, title: "The queue is full" },
  upgrade_required: { status: 426, title: "A WebSocket is needed" },
  temporarily_unavailable: { status: 503, title: "Temporarily unavailable" },
  internal: { status: 500, title: "Internal error" },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** The codes of `error` frames: those of HTTP problems, and some that only frames have. */
export type FrameErrorCode =
  | ProblemCode
  | "malformed_frame"
  | "unknown_frame"
  | "frame_too_large"
  | "binary_frame"
  | "not_registered"
  | "already_registered"
  | "register_timeout"
  | "space_occupied"
  | "replaced"
  | "token_revoked"
  | "no_such_file"
  | "too_many_follows"
  | "too_many_rooms"
  | "room_not_found"
  | "too_slow";

/** The reasons why a job can fail, as in its `error.code`. */
export const FAILURE_CODES = [
  "timeout",
  "worker_lost",
  "worker_error",
  "expired",
  "rejected",
  "too_many_attempts",
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];
