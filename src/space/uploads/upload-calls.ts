import type { Refusal } from "../../objects/reply.ts";
import type { Upload, UploadPart } from "../../storage/upload-store.ts";

/** What somebody wants to upload; the Worker has validated it. */
export interface UploadSpec {
  /** Bytes. */
  length: number;
  name: string;
  contentType: string;
  /** The field that it is for; `null` if that was not said. */
  field: string | null;
}

/** What a request does with an upload. Whoever writes it has a fence, which is void once somebody else writes it. */
export type UploadCommand =
  | { type: "look" }
  /** Begins to write at `offset`. */
  | { type: "begin"; offset: number }
  /** Shows that it still writes; `hasReceived`: something came since the last time. */
  | { type: "renew"; fence: number; hasReceived: boolean }
  /** Says what is in the bucket by now. */
  | ({ type: "store"; fence: number; part?: UploadPart } & UploadProgress)
  | { type: "parts"; fence: number }
  /** The file is whole. */
  | { type: "finish"; fence: number; sha256: string }
  | { type: "end"; fence: number };

/** How far an upload has come. */
export type UploadProgress = Pick<Upload, "received" | "tail" | "multipart">;

/** The upload after a command; `parts` are listed only where they were asked for. */
export type UploadReply = { ok: true; upload: Upload; parts: UploadPart[] } | Refusal;

export const NO_SUCH_UPLOAD = {
  ok: false,
  code: "upload_not_found",
  detail:
    "There is no such upload: it was removed, or no job has used it for a day after its last byte. Upload the file again.",
} as const;

export const UPLOAD_LOCKED = {
  ok: false,
  code: "upload_locked",
  detail:
    "Another request is writing this upload: ask where it is with HEAD, and go on from there.",
  retryAfterS: 1,
} as const;
