import { z } from "zod";
import { outputFile } from "./output-files.ts";
import { jobError, jobStatus, spaceStatus, submitJobBody } from "./resources.ts";
import { jobId, json, POSITION, requestRef, timestamp } from "./values.ts";

/** `dialout.v1`: the frames between the edge and clients that follow a space or a job. */
export const SUBSCRIBER_PROTOCOL = "dialout.v1";

const ref = requestRef;

/** A position, `<epoch>:<offset>`: used as `since`, as the id of an SSE event and as `Last-Event-ID`. */
export const positionText = z.string().regex(POSITION, "must be <epoch>:<offset>");

/** The frames a client sends on the socket of a space. */
export const spaceClientFrame = z.discriminatedUnion("type", [
  submitJobBody.extend({ type: z.literal("submit"), ref }),
  z.strictObject({
    type: z.literal("follow"),
    job_id: jobId,
    since: positionText.optional(),
    ref: ref.optional(),
  }),
  z.strictObject({ type: z.literal("unfollow"), job_id: jobId, ref: ref.optional() }),
  z.strictObject({ type: z.literal("cancel"), job_id: jobId, ref: ref.optional() }),
]);
export type SpaceClientFrame = z.infer<typeof spaceClientFrame>;
export type SpaceClientFrameInput = z.input<typeof spaceClientFrame>;

/** Acknowledges every frame up to `offset`; for sockets with `?acks=1`. */
export const ackFrame = z.strictObject({ type: z.literal("ack"), offset: z.int().min(0) });

/** The frames a client sends on the socket of one job. */
export const jobClientFrame = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("cancel") }),
  ackFrame,
]);
export type JobClientFrame = z.infer<typeof jobClientFrame>;

/** The parameters in the address of a job's socket that limit what it is sent. */
export const throttleQuery = z.object({
  /** The most progress frames a second; without it the socket gets all of them. */
  max_rate: z.coerce.number().min(1).max(20).optional(),
  /** `1`: the client acknowledges the frames it has processed. */
  acks: z.enum(["0", "1"]).default("0"),
});

const event = { offset: z.int(), timestamp };

/** How many `progress` frames just before this frame were left out, because newer ones replaced them. */
const skipped = z.int().min(1).optional();

export const connectionFrame = z.object({
  type: z.literal("connection"),
  space: z.string().optional(),
  job_id: z.string().optional(),
  epoch: z.string(),
  offset: z.int(),
  /** `false`: a snapshot follows; `true`: the events follow that came after the client's position. */
  recovered: z.boolean(),
  timestamp,
});
export const spaceStatusFrame = z.object({
  type: z.literal("space.status"),
  space: z.string(),
  ...spaceStatus.shape,
  ...event,
});
export const acceptedFrame = z.object({
  type: z.literal("accepted"),
  ref,
  job_id: z.string(),
  queue_position: z.int().nullable(),
  /** The epoch of the job's events: with an event's offset, it is the position to name after a reconnect. */
  epoch: z.string(),
});
export const jobProgressFrame = z.object({
  type: z.literal("progress"),
  job_id: z.string(),
  status: jobStatus,
  progress: z.number(),
  estimated_remaining: z.number().nullable(),
  message: z.string().nullable(),
  output_path: z.string().nullable(),
  queue_position: z.int().nullable(),
  attempt: z.int(),
  /** Only in the last frame of a completed job. */
  result: json.optional(),
  /** Only in the last frame of a failed or canceled job. */
  error: jobError.optional(),
  /** Only in the last frame, if the job has any: its output files. */
  outputs: z.array(outputFile).optional(),
  skipped,
  ...event,
});
export type JobProgressFrame = z.infer<typeof jobProgressFrame>;
export const jobOutputFrame = z.object({
  type: z.literal("output"),
  job_id: z.string(),
  attempt: z.int(),
  /** Any JSON; absent if the piece is a file. */
  delta: json.optional(),
  file: outputFile.optional(),
  /** The file only shows how far the work is, until the next one of these or the job's end. */
  preview: z.literal(true).optional(),
  skipped,
  ...event,
});
export type JobOutputFrame = z.infer<typeof jobOutputFrame>;
/** Output and progress up to `offset` were dropped to keep the job's log small; the rest follows. */
export const gapFrame = z.object({
  type: z.literal("gap"),
  job_id: z.string(),
  ...event,
});
export type GapFrame = z.infer<typeof gapFrame>;
export const subscriberErrorFrame = z.object({
  type: z.literal("error"),
  ref: ref.optional(),
  job_id: z.string().optional(),
  code: z.string(),
  /** The same text twice, because the clients of the two former systems each read another name. */
  message: z.string(),
  error: z.string(),
});

/** The frames the edge sends to a subscriber. */
export const serverFrame = z.discriminatedUnion("type", [
  connectionFrame,
  spaceStatusFrame,
  acceptedFrame,
  jobProgressFrame,
  jobOutputFrame,
  gapFrame,
  subscriberErrorFrame,
]);
export type ServerFrame = z.infer<typeof serverFrame>;
