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

type EndedCounts = Omit<SourceStats["jobs"], "active">;

/** The sum of all sources' reports. */
export interface Totals {
  /** How many sources of each kind are counted. */
  sources: Record<SourceKind, number>;
  connections: Record<SourceKind, number>;
  jobsWithConnections: number;
  jobs: SourceStats["jobs"];
}

/** The totals before any report. */
export function noTotals(): Totals {
  return {
    sources: { space: 0, job: 0, room: 0, gateway: 0 },
    connections: { space: 0, job: 0, room: 0, gateway: 0 },
    jobsWithConnections: 0,
    jobs: { active: 0, completed: 0, failed: 0, canceled: 0 },
  };
}

/**
 * The totals once a source's report changes from `before` to `after`. `null`: the source was not counted
 * before, or is no longer counted.
 */
export function withReport(
  totals: Totals,
  before: SourceStats | null,
  after: SourceStats | null,
): Totals {
  return add(add(totals, before, -1), after, 1);
}

function add(totals: Totals, stats: SourceStats | null, sign: 1 | -1): Totals {
  if (stats === null) return totals;
  const { kind, connections, jobs_with_connections, jobs } = stats;
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

/** The totals and, besides, how erased jobs without a space ended. */
export function withPast(totals: Totals, past: EndedCounts): Totals {
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

/**
 * Whether a source has open sockets or active jobs. If such a source crashes, its last report is wrong, so the
 * monitor asks it from time to time.
 */
export function isLive({ connections, jobs }: SourceStats): boolean {
  return connections > 0 || jobs.active > 0;
}

/** Whether a report need not be stored: the source is idle, never had a job, and is no space. */
export function isBlank(report: Report): boolean {
  const { completed, failed, canceled } = report.jobs;
  return report.kind !== "space" && !isLive(report) && completed + failed + canceled === 0;
}

/** The report of a source that did not answer: without sockets, but with its jobs, which are stored there. */
export function unanswered(report: Report): Report {
  return { ...report, connections: 0, jobs_with_connections: 0 };
}

/** A job, and the source that reported it. */
export interface SourceJob {
  source: string;
  job: RecentJob;
}

/**
 * The latest jobs of all sources after one source reported its own. `null` if they can't be found from
 * `recent` alone: the source has fewer recent jobs than before, so that jobs of others, which had been
 * pushed out of the list, may belong to it again.
 */
export function recentAfter(
  recent: readonly SourceJob[],
  source: string,
  jobs: readonly RecentJob[],
): SourceJob[] | null {
  const others = recent.filter((entry) => entry.source !== source);
  const merged = latestJobs([...others, ...jobs.map((job) => ({ source, job }))]);
  const oldest = recent[RECENT_JOBS - 1];
  if (oldest === undefined) return merged;
  // A job that was pushed out is older than every job that stayed.
  const newOldest = merged[RECENT_JOBS - 1];
  return newOldest && newOldest.job.updated_at >= oldest.job.updated_at ? merged : null;
}

/** The jobs that changed last, the latest first, at most RECENT_JOBS. */
export function latestJobs(recent: readonly SourceJob[]): SourceJob[] {
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
  recent: readonly SourceJob[],
  timestamp: string,
): SystemStatusFrame {
  const recent_jobs = recent.map(({ job }) => job);
  return { type: "system_status", timestamp, ...countsOf(totals), recent_jobs };
}

export function statsOf(totals: Totals, timestamp: string): StatsResource {
  const { space: spaces, job: jobs, room: rooms, gateway: gateways } = totals.sources;
  return { timestamp, ...countsOf(totals), sources: { spaces, jobs, rooms, gateways } };
}
