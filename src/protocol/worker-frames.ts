import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { capability } from "./resources.ts";
import { json, jsonObject, text } from "./values.ts";

/** `dialout.worker.v1`: the frames between the edge and a remote worker. docs/protocol.md numbers its rules. */
export const WORKER_PROTOCOL = "dialout.worker.v1";

const attemptRef = { job_id: z.string().max(120), attempt: z.int().min(1) };

export const registerFrame = z.object({
  type: z.literal("register"),
  /** Stable over the reconnects of one worker process. */
  worker_id: text(120).min(1),
  name: text(120).optional(),
  version: z.string().max(60).optional(),
  /** Jobs it can run at once. */
  concurrency: z.int().min(1).max(1_000).default(1),
  capabilities: z.array(capability).max(LIMITS.capabilities).default([]),
  /** The attempts it still holds. */
  resume: z.array(z.object(attemptRef)).max(1_000).default([]),
});

export const acceptFrame = z.object({ type: z.literal("accept"), ...attemptRef });
export const progressFrame = z.object({
  type: z.literal("progress"),
  ...attemptRef,
  /** Percent. */
  progress: z.number().min(0).max(100),
  message: text(2_000).nullish(),
  /** Seconds. */
  estimated_remaining: z.number().min(0).nullish(),
});
export const outputFrame = z.object({ type: z.literal("output"), ...attemptRef, delta: json });
export const resultFrame = z.object({
  type: z.literal("result"),
  ...attemptRef,
  output: json,
  metrics: jsonObject.nullish(),
});
export const failFrame = z.object({
  type: z.literal("fail"),
  ...attemptRef,
  code: text(60).min(1),
  message: text(8_000),
  /** Whether another attempt may go better. */
  retryable: z.boolean().default(false),
});
export const rejectFrame = z.object({
  type: z.literal("reject"),
  ...attemptRef,
  reason: text(2_000),
});
export const drainFrame = z.object({
  type: z.literal("drain"),
  reason: text(2_000).default(""),
});

/** How busy the machine is with other things too: of several free workers the least loaded is next. */
export const loadFrame = z.object({ type: z.literal("load"), load: z.number().min(0).max(1) });

/** What a worker sends. */
export const workerFrame = z.discriminatedUnion("type", [
  registerFrame,
  acceptFrame,
  progressFrame,
  outputFrame,
  resultFrame,
  failFrame,
  rejectFrame,
  drainFrame,
  loadFrame,
]);
export type WorkerFrame = z.infer<typeof workerFrame>;
export type WorkerFrameInput = z.input<typeof workerFrame>;
export type RegisterFrame = z.infer<typeof registerFrame>;

export const helloFrame = z.object({
  type: z.literal("hello"),
  protocol: z.string(),
  space: z.string(),
  /** Send the text `ping` this often, seconds. */
  heartbeat_s: z.number(),
  /** Silence after which the edge takes the worker for dead, seconds. */
  lease_s: z.number(),
  max_frame_bytes: z.number(),
  /** Several frames may go either way as one `{type: "batch", frames: […]}`. */
  batch: z.boolean().default(false),
});

/** The settings of a space that a worker may care for. */
export const workerConfig = z.object({
  /** Jobs the edge will have this worker run at once. */
  concurrency: z.number(),
  job_timeout_s: z.number(),
  first_output_timeout_s: z.number().nullable(),
  stall_timeout_s: z.number().nullable(),
  reconnect_grace_s: z.number(),
});

export const registeredFrame = z.object({
  type: z.literal("registered"),
  generation: z.number(),
  config: workerConfig,
  /** Attempts it goes on with; `outputs`: how many of the attempt's `output` frames are stored. */
  resumed: z.array(z.object({ ...attemptRef, outputs: z.number() })),
  /** Attempts it must give up: they are over, or another worker has the job. */
  dropped: z.array(z.object(attemptRef)),
});

export const workerFile = z.object({
  field: z.string(),
  name: z.string(),
  content_type: z.string(),
  size: z.number(),
  /** Signed; good until the attempt's deadline. */
  url: z.string(),
});

export const jobFrame = z.object({
  type: z.literal("job"),
  ...attemptRef,
  input: jsonObject,
  files: z.array(workerFile),
  priority: z.number(),
  /** ISO 8601; the attempt is taken back then. */
  deadline: z.string(),
  created_at: z.string(),
  user: z.string().nullable(),
});
export type JobFrame = z.infer<typeof jobFrame>;

export const ackFrame = z.object({
  type: z.literal("ack"),
  ...attemptRef,
  of: z.enum(["result", "fail", "reject"]),
});
export const staleFrame = z.object({ type: z.literal("stale"), ...attemptRef });
export const cancelFrame = z.object({
  type: z.literal("cancel"),
  ...attemptRef,
  reason: z.string(),
});
export const configFrame = z.object({ type: z.literal("config"), config: workerConfig });
export const errorFrame = z.object({
  type: z.literal("error"),
  code: z.string(),
  message: z.string(),
});

/** What the edge sends to a worker. */
export const edgeFrame = z.discriminatedUnion("type", [
  helloFrame,
  registeredFrame,
  jobFrame,
  ackFrame,
  staleFrame,
  cancelFrame,
  configFrame,
  drainFrame,
  errorFrame,
]);
export type EdgeFrame = z.infer<typeof edgeFrame>;
