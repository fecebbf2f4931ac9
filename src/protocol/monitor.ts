import { z } from "zod";
import { jobStatus } from "./resources.ts";
import { timestamp } from "./values.ts";

/** What objects there are that have sockets or jobs. */
export const SOURCE_KINDS = ["space", "job", "room", "gateway"] as const;
export const sourceKind = z.enum(SOURCE_KINDS);
export type SourceKind = z.infer<typeof sourceKind>;

/** Jobs that are told one by one. */
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

/** What one object has to say of itself: numbers as they are now, never what was added. */
export const sourceReport = z.object({
  kind: sourceKind,
  /** Open sockets, those of streams and waiting requests included. */
  connections: count,
  /** Jobs that have not ended and are followed. */
  jobs_with_connections: count,
  jobs: z.object({
    /** Waiting or running. */
    active: count,
    /** Ended, those included that were erased since. */
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

/** `/ws/monitor`: at once, and on every change, at most once a second. */
export const systemStatusFrame = z.object({
  type: z.literal("system_status"),
  timestamp,
  jobs: jobCounts,
  websockets: websocketCounts,
  recent_jobs: z.array(recentJob),
});
export type SystemStatusFrame = z.infer<typeof systemStatusFrame>;

/** What may be sent there. */
export const monitorClientFrame = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ping") }),
]);

/** `GET /api/v1/websocket/stats`. */
export const statsResource = z.object({
  timestamp,
  jobs: jobCounts,
  websockets: websocketCounts,
  /** Objects that were heard of. */
  sources: z.object({ spaces: count, jobs: count, rooms: count, gateways: count }),
});
export type StatsResource = z.infer<typeof statsResource>;
