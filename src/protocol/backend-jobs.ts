import { z } from "zod";
import { JOB_STATUSES, jobResource } from "./resources.ts";
import {
  ackFrame,
  connectionFrame,
  gapFrame,
  jobOutputFrame,
  jobProgressFrame,
  subscriberErrorFrame,
  throttleQuery,
} from "./subscriber-frames.ts";
import { json, jsonObject, requestRef, text, timestamp } from "./values.ts";

/** Jobs without a space, whose progress a backend reports. Their frames are those of `dialout.v1`. */

/** Can't be the id of a job, because `/ws/monitor` is the socket of the monitor. */
const RESERVED = "monitor";

export const backendJobId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -")
  .refine((id) => id !== RESERVED, `must not be ${RESERVED}`);

const message = text(2_000).nullable();
const outputPath = text(2_000).nullable();

/** How long a job is kept after its end unless its creator chooses another time, seconds. */
const DEFAULT_TTL_S = 86_400;

export const createBackendJobBody = z.strictObject({
  /** The edge chooses an id if this is absent. */
  id: backendJobId.optional(),
  user: text(200).nullable().default(null),
  input: jsonObject.default({}),
  message: message.default(null),
  /** `private`: only the operator, and clients whose token names `job:<id>`, may read it. */
  visibility: z.enum(["public", "private"]).default("public"),
  result_ttl_s: z.number().positive().max(31_536_000).default(DEFAULT_TTL_S),
});
export type CreateBackendJobBody = z.infer<typeof createBackendJobBody>;

/** A field that is absent from a report keeps its value; `null` clears it. */
const REPORTS = {
  progress: {
    status: z.enum(["queued", "processing"]).optional(),
    /** Percent. */
    progress: z.number().min(0).max(100).optional(),
    /** Seconds. */
    estimated_remaining: z.number().min(0).nullable().optional(),
    message: message.optional(),
    /** Where the backend stores its output. The edge only passes it on and never opens it. */
    output_path: outputPath.optional(),
  },
  /** `id`: the same output sent again, because no answer arrived, is stored once. */
  output: { delta: json, id: text(100).min(1).optional() },
  complete: {
    result: json.default(null),
    output_path: outputPath.optional(),
    metrics: jsonObject.nullable().default(null),
  },
  fail: { code: text(60).min(1).default("worker_error"), message: text(8_000) },
  cancel: { reason: text(2_000).optional() },
};

export const REPORT_TYPES = ["progress", "output", "complete", "fail", "cancel"] as const;
export type ReportType = (typeof REPORT_TYPES)[number];

const tagged = <T extends ReportType>(type: T) => ({ type: z.literal(type), ...REPORTS[type] });

/** A report about a job, as HTTP requests make it: the last part of the path is the `type`. */
export const backendReport = z.discriminatedUnion("type", [
  z.strictObject(tagged("progress")),
  z.strictObject(tagged("output")),
  z.strictObject(tagged("complete")),
  z.strictObject(tagged("fail")),
  z.strictObject(tagged("cancel")),
]);
export type BackendReport = z.infer<typeof backendReport>;

const ref = requestRef.optional();

/** The frames a client sends on the job's socket; for reports its token must have the right to publish. */
export const backendClientFrame = z.discriminatedUnion("type", [
  z.strictObject({ ...tagged("progress"), ref }),
  z.strictObject({ ...tagged("output"), ref }),
  z.strictObject({ ...tagged("complete"), ref }),
  z.strictObject({ ...tagged("fail"), ref }),
  z.strictObject({ ...tagged("cancel"), ref }),
  ackFrame,
  z.strictObject({ type: z.literal("ping"), ref }),
  z.strictObject({ type: z.literal("pong"), ref }),
]);
export type BackendClientFrame = z.infer<typeof backendClientFrame>;
export type ReportFrame = Extract<BackendClientFrame, { type: ReportType }>;

/** The parameters in the address of a job's socket. */
export const backendSocketQuery = throttleQuery.extend({
  /** The edge sends a `ping` frame at this interval, seconds. */
  ping: z.coerce.number().int().min(5).max(300).optional(),
});

/** Unlike a worker's failure, any `code` is allowed: backends define their own. */
const error = z.object({ code: z.string(), message: z.string() });

export const backendJobResource = jobResource.extend({
  space: z.null(),
  output_path: z.string().nullable(),
  visibility: z.enum(["public", "private"]),
  error: error.nullable(),
});
export type BackendJobResource = z.infer<typeof backendJobResource>;

/** The answer to a report that doesn't end the job. The whole job would be too long to send each time. */
export const reportReceipt = backendJobResource
  .pick({
    id: true,
    status: true,
    progress: true,
    message: true,
    estimated_remaining: true,
    output_path: true,
    attempt: true,
    updated_at: true,
  })
  .extend({ offset: z.int() });
export type ReportReceipt = z.infer<typeof reportReceipt>;

/** `pending`: the job doesn't exist yet. */
const statusOrPending = z.enum([...JOB_STATUSES, "pending"]);

export const backendProgressFrame = jobProgressFrame.extend({
  status: statusOrPending,
  error: error.optional(),
});
export type BackendProgressFrame = z.infer<typeof backendProgressFrame>;

/** The frames the edge sends on the job's socket. */
export const backendServerFrame = z.discriminatedUnion("type", [
  connectionFrame,
  backendProgressFrame,
  jobOutputFrame,
  gapFrame,
  z.object({
    type: z.literal("ack"),
    of: z.enum(REPORT_TYPES),
    job_id: z.string(),
    /** The offset of the event that the report caused. */
    offset: z.int(),
    ref,
  }),
  z.object({ type: z.literal("cancel"), job_id: z.string(), reason: z.string() }),
  z.object({ type: z.literal("ping"), timestamp }),
  z.object({ type: z.literal("pong"), timestamp, ref }),
  z.object({ type: z.literal("connection.error"), code: z.string(), message: z.string() }),
  subscriberErrorFrame,
]);
