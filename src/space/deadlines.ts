import { dueAt } from "../queue/deadline.ts";
import { isEnded } from "../queue/job.ts";
import type { ReleasedFiles } from "./jobs/released-files.ts";
import type { Retention } from "./jobs/retention.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import type { WebhookSender } from "./jobs/webhook-sender.ts";
import type { SpaceCore } from "./space-core.ts";
import type { WorkerHandler } from "./workers/worker-handler.ts";

/**
 * A change is reported to the monitor within a second, but a crash may lose that report. So the space's alarm goes
 * off this long after a change, milliseconds, and the space reports itself again (decision 0024).
 */
const REPORT_BY_MS = 30_000;

interface SpaceDeadlinesDeps {
  core: SpaceCore;
  workers: WorkerHandler;
  webhooks: WebhookSender;
  retention: Retention;
  released: ReleasedFiles;
  /** Whether the monitor asks this space for its report by itself, so that no alarm is needed for that. */
  isPolled: () => boolean;
  /** Sets the alarm for `at` (milliseconds since 1970), unless it is set for earlier. */
  arm: (at: number) => void;
}

/** Sets the space's one alarm for whatever is due first. */
export class Deadlines {
  private readonly deps: SpaceDeadlinesDeps;
  /** When the first lease ends that `watchLeases` was called for; `null` if none was. */
  private watchedLeaseEnd: number | null = null;

  constructor(deps: SpaceDeadlinesDeps) {
    this.deps = deps;
  }

  /** Sets the alarm earlier if something that a batch changed is due before everything else. */
  watch(changes: readonly Change[], webhookDue: number | null, now: number): void {
    const { retention, released, workers, isPolled } = this.deps;
    const dues = changes.flatMap(({ job }) => {
      if (isEnded(job)) return retention.dueOf(job);
      // A job that failed waits before its next attempt (decision 0014).
      const delayed = job.status === "queued" && job.availableAt > now ? job.availableAt : null;
      return [delayed, dueAt(job)];
    });
    if (changes.length > 0 && !isPolled()) dues.push(now + REPORT_BY_MS);
    if (changes.some(({ job }) => job.status === "processing")) dues.push(...workers.dueAt(now));
    this.armFor([...dues, webhookDue, released.dueAt], now);
  }

  /** Sets the alarm earlier if a worker is to be looked at before it goes off. Call this when somebody begins to watch. */
  watchWorkers(now: number): void {
    this.armFor(this.deps.workers.dueAt(now), now);
  }

  /** Sets the alarm for the end of the first lease, so that whoever looks now is sent the end of a worker once. */
  watchLeases(now: number): void {
    this.watchedLeaseEnd = this.deps.workers.firstLeaseEnd();
    this.armFor([this.watchedLeaseEnd], now);
  }

  /** Derives the next deadline from the rows. Call this after the alarm went off, or when limits changed. */
  rearm(now: number): void {
    const { core, workers, webhooks, retention, released } = this.deps;
    const { store, jobs } = core;
    // An alarm for something else went off first.
    const isAhead = this.watchedLeaseEnd !== null && this.watchedLeaseEnd > now;
    this.armFor(
      [
        isAhead ? this.watchedLeaseEnd : null,
        ...workers.dueAt(now),
        ...jobs.runningJobs().map(dueAt),
        store.earliestQueueDue(),
        store.earliestDelayed(now),
        webhooks.dueAt(),
        retention.dueAt(),
        released.dueAt,
        core.connections.earliestExpiry(),
      ],
      now,
    );
  }

  private armFor(dues: readonly (number | null)[], now: number): void {
    const known = dues.filter((due) => due !== null);
    if (known.length > 0) this.deps.arm(Math.max(now + 1, Math.min(...known)));
  }
}
