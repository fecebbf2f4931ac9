import { iso } from "../protocol/iso.ts";
import { RECENT_JOBS, type RecentJob, type Report } from "../protocol/monitor.ts";
import { isEnded, type Job } from "../queue/job.ts";
import type { EndCounts } from "../storage/space-store.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import { jobIdOf } from "./render.ts";
import type { SpaceCore } from "./space-core.ts";
import type { JobFollowers } from "./subscribers/job-followers.ts";

type RecentJobState = Pick<RecentJob, "status" | "progress"> & { updatedAt: number };

/** Keeps the counts that a space reports to the monitor (decision 0024). */
export class SpaceReport {
  private readonly core: SpaceCore;
  private readonly followers: JobFollowers;
  /** How many jobs ended, and how, including jobs that were erased later. */
  private readonly ends: EndCounts;
  /** The jobs that changed most recently, by ULID; the latest is last. */
  private recent = new Map<string, RecentJobState>();
  private isLoaded = false;

  constructor(core: SpaceCore, followers: JobFollowers) {
    this.core = core;
    this.followers = followers;
    this.ends = core.spaces.ends();
  }

  /** Counts the jobs that a batch changed or ended. Call this within the batch's transaction. */
  countChanges(changes: readonly Change[]): void {
    const ended: EndCounts = { completed: 0, failed: 0, canceled: 0 };
    let count = 0;
    for (const { job, before } of changes) {
      if (!isEnded(job) || (before !== null && isEnded(before))) continue;
      ended[job.status] += 1;
      this.ends[job.status] += 1;
      count += 1;
    }
    if (count > 0) this.core.spaces.countEnds(ended);
    for (const { job } of changes.slice(-RECENT_JOBS)) {
      this.recent.delete(job.ulid);
      this.recent.set(job.ulid, recentOf(job));
    }
    this.trim();
  }

  /** The report as of now. */
  current(): Report {
    const { connections, jobs } = this.core;
    this.loadRecent();
    return {
      kind: "space",
      connections: connections.size,
      jobs_with_connections: this.followers.followedCount,
      jobs: { active: jobs.queue.size + jobs.runningJobs().length, ...this.ends },
      recent: [...this.recent].reverse().map(([ulid, job]) => this.render(ulid, job)),
    };
  }

  /** After memory was lost, finds the most recent jobs again: the newest in the store, and those that run. */
  private loadRecent(): void {
    if (this.isLoaded) return;
    this.isLoaded = true;
    const { store, jobs } = this.core;
    // The oldest first: of jobs that changed at the same time, the newest counts as the latest.
    const stored = store.newest(RECENT_JOBS).toReversed();
    const known = stored.map(({ ulid, ...job }) => [ulid, job] as const);
    const running = jobs
      .runningJobs()
      .filter(({ ulid }) => !jobs.isDeferred(ulid))
      .map((job) => [job.ulid, recentOf(job)] as const);
    const found = new Map<string, RecentJobState>([...known, ...running, ...this.recent]);
    this.recent = new Map([...found].sort(([, a], [, b]) => a.updatedAt - b.updatedAt));
    this.trim();
  }

  private trim(): void {
    for (const ulid of this.recent.keys()) {
      if (this.recent.size <= RECENT_JOBS) return;
      this.recent.delete(ulid);
    }
  }

  private render(ulid: string, { status, progress, updatedAt }: RecentJobState): RecentJob {
    const { name: space } = this.core.record;
    return { id: jobIdOf(space, ulid), space, status, progress, updated_at: iso(updatedAt) };
  }
}

function recentOf(job: Job): RecentJobState {
  const { status, updatedAt } = job;
  return { status, progress: progressOf(job), updatedAt };
}

function progressOf(job: Job): number {
  switch (job.status) {
    case "queued":
      return 0;
    case "processing":
      return job.live.progress;
    case "completed":
      return 100;
    default:
      return job.progress;
  }
}
