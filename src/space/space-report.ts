import { iso } from "../protocol/iso.ts";
import { RECENT_JOBS, type RecentJob, type Report } from "../protocol/monitor.ts";
import { isEnded, type Job } from "../queue/job.ts";
import type { EndCounts } from "../storage/space-store.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import { jobIdOf } from "./render.ts";
import type { SpaceCore } from "./space-core.ts";
import type { JobFollowers } from "./subscribers/job-followers.ts";

type Recent = Pick<RecentJob, "status" | "progress"> & { updatedAt: number };

/** What a space tells the monitor of itself. */
export class SpaceReport {
  private readonly core: SpaceCore;
  private readonly followers: JobFollowers;
  /** How its jobs ended, those included that were erased since. */
  private readonly ends: EndCounts;
  /** The jobs that changed last, by ULID; the latest is last. */
  private recent = new Map<string, Recent>();
  private isRecalled = false;

  constructor(core: SpaceCore, followers: JobFollowers) {
    this.core = core;
    this.followers = followers;
    this.ends = core.spaces.ends();
  }

  /** Counts what a batch ended, inside its transaction. */
  note(changes: readonly Change[]): void {
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

  report(): Report {
    const { connections, jobs } = this.core;
    this.recall();
    return {
      kind: "space",
      connections: connections.size,
      jobs_with_connections: this.followers.followedCount,
      jobs: { active: jobs.queue.size + jobs.runningJobs().length, ...this.ends },
      recent: [...this.recent].reverse().map(([ulid, job]) => this.render(ulid, job)),
    };
  }

  /** After memory was lost: the newest jobs, and those that run. */
  private recall(): void {
    if (this.isRecalled) return;
    this.isRecalled = true;
    const { store, jobs } = this.core;
    const stored = store.newest(RECENT_JOBS).map(({ ulid, ...job }) => [ulid, job] as const);
    const running = jobs
      .runningJobs()
      .filter(({ ulid }) => !jobs.isDeferred(ulid))
      .map((job) => [job.ulid, recentOf(job)] as const);
    const recalled = new Map<string, Recent>([...stored, ...running, ...this.recent]);
    this.recent = new Map([...recalled].sort(([, a], [, b]) => a.updatedAt - b.updatedAt));
    this.trim();
  }

  private trim(): void {
    for (const ulid of this.recent.keys()) {
      if (this.recent.size <= RECENT_JOBS) return;
      this.recent.delete(ulid);
    }
  }

  private render(ulid: string, { status, progress, updatedAt }: Recent): RecentJob {
    const { name: space } = this.core.record;
    return { id: jobIdOf(space, ulid), space, status, progress, updated_at: iso(updatedAt) };
  }
}

function recentOf(job: Job): Recent {
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
