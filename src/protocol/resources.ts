import { z } from "zod";
import { FAILURE_CODES } from "./codes.ts";
import { LIMITS } from "./limits.ts";
import { json, jsonObject, spaceName, timestamp } from "./values.ts";

/** A limit in seconds; `null` is no limit. */
const optionalSeconds = z.number().positive().max(604_800).nullable();
const seconds = (max: number) => z.number().positive().max(max);

/** Settings of a space; the comment of each says what it decides. */
export const spaceSettings = z.strictObject({
  title: z.string().max(120),
  description: z.string().max(4_000),
  /** `private`: only the operator may see it or submit to it. */
  visibility: z.enum(["public", "private"]),
  enable_prompt: z.boolean(),
  enable_audio: z.boolean(),
  enable_video: z.boolean(),
  enable_file_upload: z.boolean(),
  /** Workers that may serve the space at the same time. */
  max_workers: z.int().min(1).max(64),
  /** Jobs a worker may run at once, however many it offers; `null`: what it offers. */
  concurrency: z.int().min(1).max(LIMITS.concurrency).nullable(),
  /** What happens to a submit while no worker is there. */
  offline: z.enum(["refuse", "queue"]),
  max_queue: z.int().min(1).max(1_000_000),
  max_attempts: z.int().min(1).max(100),
  /** How long a dropped worker may take to come back to its jobs. */
  reconnect_grace_s: z.number().min(0).max(3_600),
  /** Longest wait for a dispatch. */
  queue_timeout_s: optionalSeconds,
  /** Longest time from dispatch to the first progress or output. */
  first_output_timeout_s: optionalSeconds,
  /** Longest silence between two frames about the job. */
  stall_timeout_s: optionalSeconds,
  /** Longest run of one attempt. */
  job_timeout_s: seconds(604_800),
  /** How long finished jobs are kept. */
  result_ttl_s: seconds(31_536_000),
  /** How long a result also answers later submits of the same input; 0: never. */
  cache_ttl_s: z.number().min(0).max(31_536_000),
});
export type SpaceSettings = z.infer<typeof spaceSettings>;

/** The settings under which a space starts. */
export const DEFAULT_SETTINGS: SpaceSettings = {
  title: "",
  description: "",
  visibility: "public",
  enable_prompt: true,
  enable_audio: false,
  enable_video: false,
  enable_file_upload: false,
  max_workers: 1,
  concurrency: null,
  offline: "refuse",
  max_queue: 1_000,
  max_attempts: 3,
  reconnect_grace_s: 15,
  queue_timeout_s: 3_600,
  first_output_timeout_s: null,
  stall_timeout_s: null,
  job_timeout_s: 120,
  result_ttl_s: 86_400,
  cache_ttl_s: 0,
};

export const createSpaceBody = spaceSettings.partial().extend({ name: spaceName });

/** A change names only what changes. */
export const patchSpaceBody = spaceSettings
  .partial()
  .refine((patch) => Object.keys(patch).length > 0, "names nothing to change");
export type SpacePatch = z.infer<typeof patchSpaceBody>;

export const WORKER_STATES = ["connected", "disconnected", "reconnecting", "draining"] as const;

/** What anyone who may see a space may know of it now. */
export const spaceStatus = z.object({
  worker: z.enum(WORKER_STATES),
  worker_name: z.string().optional(),
  queue_size: z.int(),
  processing: z.int(),
  /** Until a job submitted now would start; `null` before any job was measured. */
  estimated_wait_s: z.number().nullable(),
  /** Why jobs wait, or one submitted now would, in words. */
  waiting_reason: z.string().optional(),
});
export type SpaceStatus = z.infer<typeof spaceStatus>;

export const spaceResource = z.object({
  name: spaceName,
  ...spaceSettings.shape,
  created_at: timestamp,
  updated_at: timestamp,
  status: spaceStatus,
  urls: z.object({ self: z.string(), page: z.string(), jobs: z.string(), ws: z.string() }),
});
export type SpaceResource = z.infer<typeof spaceResource>;

export const createTokenBody = z.strictObject({ name: z.string().trim().min(1).max(120) });

export const tokenResource = z.object({
  id: z.string(),
  space: spaceName,
  name: z.string(),
  created_at: timestamp,
  last_used_at: timestamp.nullable(),
  /** The secret itself: only in the answer that made it. */
  token: z.string().optional(),
});
export type TokenResource = z.infer<typeof tokenResource>;

/** What a worker can do, or a job needs, in a word that both sides know. */
export const capability = z.string().min(1).max(60);

export const PRIORITY = { min: -100, max: 100 } as const;

export const WEBHOOK_EVENTS = ["start", "output", "logs", "completed"] as const;
export const webhookEvent = z.enum(WEBHOOK_EVENTS);
export type WebhookEvent = z.infer<typeof webhookEvent>;

/** Where to tell of a job, and what of it: every event, if none is named. */
const webhook = z
  .union([
    z.url().max(2_000),
    z.strictObject({ url: z.url().max(2_000), events: z.array(webhookEvent).min(1).optional() }),
  ])
  .transform((asked) => {
    const { url, events = WEBHOOK_EVENTS } = typeof asked === "string" ? { url: asked } : asked;
    return { url, events: [...new Set(events)] };
  });

/** Printable ASCII, as it comes in a header. */
export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, "must be 1 to 255 printable ASCII characters");

/** What a submitter may ask for beside the input; limits can only lower those of the space. */
export const jobOptions = {
  priority: z.int().min(PRIORITY.min).max(PRIORITY.max).optional(),
  queue_timeout_s: seconds(604_800).optional(),
  first_output_timeout_s: seconds(604_800).optional(),
  stall_timeout_s: seconds(604_800).optional(),
  job_timeout_s: seconds(604_800).optional(),
  /** The submitter's socket or stream closing cancels the job. */
  cancel_on_disconnect: z.boolean().optional(),
  /** Only a worker that registered with all of these gets the job. */
  requires: z.array(capability).max(LIMITS.capabilities).optional(),
  /** Told twice with the same key and body, a submit makes one job. */
  idempotency_key: idempotencyKey.optional(),
  webhook: webhook.optional(),
};

/** The model's parameters. `prompt` is text and needs `enable_prompt`; the rest is the model's own. */
export const jobInput = jsonObject.refine(
  (input) => input.prompt === undefined || typeof input.prompt === "string",
  { message: "must be text", path: ["prompt"] },
);

export const submitJobBody = z.strictObject({ input: jobInput, ...jobOptions });
export type SubmitJobBody = z.infer<typeof submitJobBody>;
/** What was asked beside the input. */
export type JobOptions = Omit<SubmitJobBody, "input">;

export const submitBatchBody = z.strictObject({
  /** Each is checked for itself. */
  jobs: z.array(json).min(1).max(LIMITS.batchJobs),
});

export const JOB_STATUSES = ["queued", "processing", "completed", "failed", "canceled"] as const;
export const jobStatus = z.enum(JOB_STATUSES);
export type JobStatus = z.infer<typeof jobStatus>;

export const fileInfo = z.object({
  /** The form field it came in: `audio`, `video` or any other. */
  field: z.string(),
  name: z.string(),
  content_type: z.string(),
  size: z.int(),
});

/** Why a job ended without a result: it failed, or was canceled. */
export const jobError = z.object({
  code: z.enum([...FAILURE_CODES, "canceled"]),
  message: z.string(),
});
export type JobError = z.infer<typeof jobError>;

export const jobResource = z.object({
  id: z.string(),
  space: spaceName,
  status: jobStatus,
  /** Percent, 0 to 100. */
  progress: z.number(),
  message: z.string().nullable(),
  /** Seconds, as the worker guesses. */
  estimated_remaining: z.number().nullable(),
  /** 1 is next; `null` once the job left the queue. */
  queue_position: z.int().nullable(),
  /** Dispatches so far; 0 before the first. */
  attempt: z.int(),
  input: jsonObject,
  files: z.array(fileInfo),
  /** What was streamed: one text where every piece is text, else the list of pieces; `null`: nothing. */
  output: json,
  /** `output` lacks its beginning, which was dropped to keep the job's log small. */
  output_truncated: z.boolean(),
  /** What the worker returned at the end; `null` until then. */
  result: json,
  error: jobError.nullable(),
  user: z.string().nullable(),
  priority: z.int(),
  created_at: timestamp,
  updated_at: timestamp,
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  worker: z.object({ id: z.string(), name: z.string().nullable() }).nullable(),
  /** As the worker reported them. */
  metrics: jsonObject.nullable(),
  /** The result is that of an earlier job with the same input. */
  cached: z.boolean(),
  urls: z.object({ self: z.string(), events: z.string(), ws: z.string(), cancel: z.string() }),
});
export type JobResource = z.infer<typeof jobResource>;

/** One thing a webhook was told, or is still to be told. */
export const deliveryResource = z.object({
  id: z.string(),
  event: webhookEvent,
  url: z.string(),
  status: z.enum(["pending", "delivered", "failed"]),
  attempts: z.int(),
  next_attempt_at: timestamp.nullable(),
  /** The last answer; `null` where none came. */
  response_status: z.int().nullable(),
  error: z.string().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
});
export type DeliveryResource = z.infer<typeof deliveryResource>;

export const listJobsQuery = z.strictObject({
  status: jobStatus.optional(),
  cursor: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

/** RFC 9457. */
export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof problem>;
