import { z } from "zod";
import { sendingFrame } from "./announcement.ts";
import { LIMITS } from "./limits.ts";
import { outputAddress, outputName } from "./output-files.ts";
import { capability } from "./resources.ts";
import { json, jsonObject, list, text } from "./values.ts";

/** `dialout.worker.v1`: the frames between the edge and a remote worker. Its rules are in docs/protocol.md. */
export const WORKER_PROTOCOL = "dialout.worker.v1";

const attemptRef = { job_id: z.string().max(120), attempt: z.int().min(1) };

export const registerFrame = z.object({
  type: z.literal("register"),
  /** The same for all connections of one worker process. */
  worker_id: text(120).min(1),
  name: text(120).optional(),
  version: z.string().max(60).optional(),
  /** How many jobs it can run at once. */
  concurrency: z.int().min(1).max(1_000).default(1),
  capabilities: list(capability, { max: LIMITS.capabilities }).default([]),
  /** The attempts that it still has from an earlier connection. */
  resume: list(z.object(attemptRef), { max: 1_000 }).default([]),
  /** Its attempts may send files: each `job` frame has the address for them. */
  sends_files: z.boolean().default(false),
  /** What its jobs take and give, see `declaredSchema`. Checked by the space, which answers `schema_invalid`. */
  schema: json.optional(),
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
/** The next piece of output: any JSON, or the name of a file that the attempt has sent. */
export const outputFrame = z
  .object({
    type: z.literal("output"),
    ...attemptRef,
    delta: json.optional(),
    file: outputName.optional(),
    /** The file only shows how far the work is: the next preview takes its place, and it ends with the job. */
    preview: z.boolean().optional(),
  })
  .check(({ value: { delta, file, preview }, issues }) => {
    const refuse = (path: string, message: string) =>
      void issues.push({ code: "custom", input: undefined, path: [path], message });
    if (delta === undefined && file === undefined) refuse("delta", "is missing");
    if (delta !== undefined && file !== undefined) refuse("file", "can't be sent with a `delta`");
    if (preview && file === undefined) refuse("preview", "needs a `file`");
  });
export const resultFrame = z.object({
  type: z.literal("result"),
  ...attemptRef,
  output: json,
  metrics: jsonObject.nullish(),
  /** Files that the attempt has sent, and that are part of the job's output from now on. */
  files: list(outputName, { max: LIMITS.outputFiles }).optional(),
});
export const failFrame = z.object({
  type: z.literal("fail"),
  ...attemptRef,
  code: text(60).min(1),
  message: text(8_000),
  /** Whether another attempt may succeed. */
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

/** How busy the worker's machine is, also with other work, from 0 to 1: the least busy worker gets the next job. */
export const loadFrame = z.object({ type: z.literal("load"), load: z.number().min(0).max(1) });

/** The frames a worker sends. */
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
  sendingFrame,
]);
export type WorkerFrame = z.infer<typeof workerFrame>;
export type WorkerFrameInput = z.input<typeof workerFrame>;
export type RegisterFrame = z.infer<typeof registerFrame>;

export const helloFrame = z.object({
  type: z.literal("hello"),
  protocol: z.string(),
  space: z.string(),
  /** The interval at which the worker must send the text `ping`, seconds. */
  heartbeat_s: z.number(),
  /** The edge takes a worker that was silent this long for dead, seconds. */
  lease_s: z.number(),
  max_frame_bytes: z.number(),
  /** Both sides may send several frames as one `{type: "batch", frames: […]}`. */
  batch: z.boolean().default(false),
  /** The worker should announce messages of more bytes by `sending`; an edge that does not know that says nothing. */
  unannounced_bytes: z.number().optional(),
  /** How many workers serve the space now, and how many may; an edge of an earlier version says neither. */
  workers: z.int().optional(),
  max_workers: z.int().optional(),
});

/** The settings of a space that matter to a worker. */
export const workerConfig = z.object({
  /** The most jobs that the edge gives this worker at once. */
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
  /**
   * The attempts that go on; `outputs` is how many of the attempt's `output` frames are stored, `deadline` when
   * the edge takes it back now, ISO 8601.
   */
  resumed: z.array(
    z.object({
      ...attemptRef,
      outputs: z.number(),
      deadline: z.string().optional(),
      /** New addresses of the job's files, in their order, if the deadline has moved. */
      file_urls: z.array(z.string()).optional(),
    }),
  ),
  /**
   * The attempts that the worker must stop: they have ended, or the job has a newer attempt. `of` is the type of the
   * worker's own frame that has ended it: only the `ack` was lost.
   */
  dropped: z.array(z.object({ ...attemptRef, of: z.enum(["result", "fail"]).optional() })),
});

export const workerFile = z.object({
  field: z.string(),
  name: z.string(),
  content_type: z.string(),
  size: z.number(),
  /** Of the content, in hexadecimal digits. */
  sha256: z.string().optional(),
  /** A signed address, valid until shortly after the attempt's deadline. */
  url: z.string(),
});

export const jobFrame = z.object({
  type: z.literal("job"),
  ...attemptRef,
  input: jsonObject,
  files: z.array(workerFile),
  priority: z.number(),
  /** Where to send files that are output; an edge that takes none says nothing. */
  outputs: outputAddress.optional(),
  /** When the edge takes the attempt back, ISO 8601. */
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
/** The attempt's deadline has moved, because the edge stood still; `file_urls` as in `registered`. */
export const deadlineFrame = z.object({
  type: z.literal("deadline"),
  ...attemptRef,
  deadline: z.string(),
  file_urls: z.array(z.string()).optional(),
});
export const configFrame = z.object({ type: z.literal("config"), config: workerConfig });
export const errorFrame = z.object({
  type: z.literal("error"),
  code: z.string(),
  message: z.string(),
  /** The attempt that the error has ended, or whose `output` named no file (`no_such_file`); absent otherwise. */
  job_id: z.string().optional(),
  attempt: z.int().optional(),
  /** With `no_such_file`: the name in the frame that was refused. */
  file: z.string().optional(),
});

/** The frames the edge sends to a worker. */
export const edgeFrame = z.discriminatedUnion("type", [
  helloFrame,
  registeredFrame,
  jobFrame,
  ackFrame,
  staleFrame,
  cancelFrame,
  deadlineFrame,
  configFrame,
  drainFrame,
  errorFrame,
  sendingFrame,
]);
export type EdgeFrame = z.infer<typeof edgeFrame>;
