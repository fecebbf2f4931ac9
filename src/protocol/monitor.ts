import { z } from "zod";
import { jobStatus } from "./resources.ts";
import { timestamp } from "./values.ts";

/** The kinds of objects that have sockets or jobs, and so report to the monitor. */
export const SOURCE_KINDS = ["space", "job", "room", "gateway"] as const;
export const sourceKind = z.enum(SOURCE_KINDS);
export type SourceKind = z.infer<typeof sourceKind>;

/** How many of the latest jobs a report lists. */
export const RECENT_JOBS = 10;

const count = z.int().min(0);

export const recentJob = z.object({
  id: z.string().max(200),
  /** `null` for a job without a space. */
  space: z.string().max(200).nullable(),
  status: jobStatus,
  progress: z.number(),
  updated_at: timestamp,
});
export type RecentJob = z.infer<typeof recentJob>;

/**
 * One object's report to the monitor. Its numbers are absolute, not increments, so a report that is lost or sent
 * twice does no harm (decision 0024).
 */
export const sourceReport = z.object({
  kind: sourceKind,
  /** Open sockets, including those of streams and of requests that wait. */
  connections: count,
  /** Jobs that have not ended and that somebody follows. */
  jobs_with_connections: count,
  jobs: z.object({
    /** Waiting or running. */
    active: count,
    /** Ended jobs, including those that were erased since. */
    completed: count,
    failed: count,
    canceled: count,
  }),
  /** The jobs that changed last, the latest first. */
  recent: z.array(recentJob).max(RECENT_JOBS),
});
export type Report = z.infer<typeof sourceReport>;

const jobCounts = z.object({
  total: count,
  active: count,
  completed: count,
  failed: count,
  canceled: count,
});
const websocketCounts = z.object({ total_connections: count, jobs_with_connections: count });

/** The frame of `/ws/monitor`: sent at once and then after changes, at most once a second. */
export const systemStatusFrame = z.object({
  type: z.literal("system_status"),
  timestamp,
  jobs: jobCounts,
  websockets: websocketCounts,
  recent_jobs: z.array(recentJob),
});
export type SystemStatusFrame = z.infer<typeof systemStatusFrame>;

/** The frames a client may send on `/ws/monitor`. */
export const monitorClientFrame = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ping") }),
]);

/** The answer of `GET /api/v1/websocket/stats`. */
export const statsResource = z.object({
  timestamp,
  jobs: jobCounts,
  websockets: websocketCounts,
  /** How many objects have reported. */
  sources: z.object({ spaces: count, jobs: count, rooms: count, gateways: count }),
});
export type StatsResource = z.infer<typeof statsResource>;
