import {
  RECENT_JOBS,
  type RecentJob,
  type Report,
  SOURCE_KINDS,
  type SourceKind,
  type StatsResource,
  type SystemStatusFrame,
} from "../protocol/monitor.ts";

/** The numbers of one source. */
export type SourceStats = Omit<Report, "recent">;

type Ends = Omit<SourceStats["jobs"], "active">;

/** What all sources add up to. */
export interface Totals {
  sources: Record<SourceKind, number>;
  connections: Record<SourceKind, number>;
  jobsWithConnections: number;
  jobs: SourceStats["jobs"];
}

export function nothing(): Totals {
  return {
    sources: { space: 0, job: 0, room: 0, gateway: 0 },
    connections: { space: 0, job: 0, room: 0, gateway: 0 },
    jobsWithConnections: 0,
    jobs: { active: 0, completed: 0, failed: 0, canceled: 0 },
  };
}

/** The totals once a source says `after` where it said `before`; `null`: it is not, or no more, counted. */
export function exchanged(
  totals: Totals,
  before: SourceStats | null,
  after: SourceStats | null,
): Totals {
  return plus(plus(totals, before, -1), after, 1);
}

function plus(totals: Totals, figures: SourceStats | null, sign: 1 | -1): Totals {
  if (figures === null) return totals;
  const { kind, connections, jobs_with_connections, jobs } = figures;
  return {
    sources: { ...totals.sources, [kind]: totals.sources[kind] + sign },
    connections: {
      ...totals.connections,
      [kind]: totals.connections[kind] + sign * connections,
    },
    jobsWithConnections: totals.jobsWithConnections + sign * jobs_with_connections,
    jobs: {
      active: totals.jobs.active + sign * jobs.active,
      completed: totals.jobs.completed + sign * jobs.completed,
      failed: totals.jobs.failed + sign * jobs.failed,
      canceled: totals.jobs.canceled + sign * jobs.canceled,
    },
  };
}

/** What erased jobs did stays counted. */
export function withPast(totals: Totals, past: Ends): Totals {
  const { active, completed, failed, canceled } = totals.jobs;
  return {
    ...totals,
    jobs: {
      active,
      completed: completed + past.completed,
      failed: failed + past.failed,
      canceled: canceled + past.canceled,
    },
  };
}

/** Something may go on there, or break off without a word. */
export function isLive({ connections, jobs }: SourceStats): boolean {
  return connections > 0 || jobs.active > 0;
}

/** A space is there while nothing happens; of anything else that is idle and did nothing, nothing need be kept. */
export function isBlank(report: Report): boolean {
  const { completed, failed, canceled } = report.jobs;
  return report.kind !== "space" && !isLive(report) && completed + failed + canceled === 0;
}

/** A source that does not answer has no sockets; its jobs are stored, and wait. */
export function unanswered(report: Report): Report {
  return { ...report, connections: 0, jobs_with_connections: 0 };
}

export interface RecentOf {
  source: string;
  job: RecentJob;
}

/**
 * The latest jobs of all sources once one of them tells its own anew; `null` where jobs of others, which
 * were pushed out before, may be among them again.
 */
export function recentAfter(
  recent: readonly RecentOf[],
  source: string,
  jobs: readonly RecentJob[],
): RecentOf[] | null {
  const others = recent.filter((one) => one.source !== source);
  const merged = latest([...others, ...jobs.map((job) => ({ source, job }))]);
  const oldest = recent[RECENT_JOBS - 1];
  if (oldest === undefined) return merged;
  // Whatever was pushed out is older than all that were left.
  const newOldest = merged[RECENT_JOBS - 1];
  return newOldest && newOldest.job.updated_at >= oldest.job.updated_at ? merged : null;
}

/** The latest first, as many as are told. */
export function latest(recent: readonly RecentOf[]): RecentOf[] {
  const byTime = [...recent].sort((a, b) => b.job.updated_at.localeCompare(a.job.updated_at));
  return byTime.slice(0, RECENT_JOBS);
}

function countsOf({ connections, jobsWithConnections, jobs }: Totals) {
  const { active, completed, failed, canceled } = jobs;
  const total = active + completed + failed + canceled;
  let total_connections = 0;
  for (const kind of SOURCE_KINDS) total_connections += connections[kind];
  return {
    jobs: { total, active, completed, failed, canceled },
    websockets: { total_connections, jobs_with_connections: jobsWithConnections },
  };
}

export function statusFrame(
  totals: Totals,
  recent: readonly RecentOf[],
  timestamp: string,
): SystemStatusFrame {
  const recent_jobs = recent.map(({ job }) => job);
  return { type: "system_status", timestamp, ...countsOf(totals), recent_jobs };
}

export function statsOf(totals: Totals, timestamp: string): StatsResource {
  const { space: spaces, job: jobs, room: rooms, gateway: gateways } = totals.sources;
  return { timestamp, ...countsOf(totals), sources: { spaces, jobs, rooms, gateways } };
}
