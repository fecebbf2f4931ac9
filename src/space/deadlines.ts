import { dueAt } from "../queue/deadline.ts";
import { isEnded } from "../queue/job.ts";
import type { Retention } from "./jobs/retention.ts";
import type { Change } from "./jobs/unit-of-work.ts";
import type { WebhookSender } from "./jobs/webhook-sender.ts";
import type { SpaceCore } from "./space-core.ts";
import type { WorkerHandler } from "./workers/worker-handler.ts";

/** A crash may keep the monitor from hearing of a change: the space wakes by then and tells it, unless it is asked. */
const REPORT_BY_MS = 30_000;

interface Parts {
  core: SpaceCore;
  workers: WorkerHandler;
  webhooks: WebhookSender;
  retention: Retention;
  /** The monitor asks by itself. */
  isPolled: () => boolean;
  /** Rings at the latest then; earlier alarms stay. */
  arm: (at: number) => void;
}

/** Everything that has its time, on one alarm. */
export class Deadlines {
  private readonly parts: Parts;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** What a batch changed may be due earlier than anything before it. */
  watch(changes: readonly Change[], webhookDue: number | null, now: number): void {
    const { retention, workers, isPolled } = this.parts;
    const dues = changes.flatMap(({ job }) => {
      if (isEnded(job)) return retention.dueOf(job);
      const delayed = job.status === "queued" && job.availableAt > now ? job.availableAt : null;
      return [delayed, dueAt(job)];
    });
    if (changes.length > 0 && !isPolled()) dues.push(now + REPORT_BY_MS);
    if (changes.some(({ job }) => job.status === "processing")) dues.push(...workers.dueAt());
    this.armFor([...dues, webhookDue], now);
  }

  /** Derives the next deadline of all from the rows: after an alarm rang, or limits changed. */
  rearm(now: number): void {
    const { core, workers, webhooks, retention } = this.parts;
    const { store, jobs } = core;
    this.armFor(
      [
        ...workers.dueAt(),
        ...jobs.runningJobs().map(dueAt),
        store.earliestQueueDue(),
        store.earliestDelayed(now),
        webhooks.dueAt(),
        retention.dueAt(),
      ],
      now,
    );
  }

  private armFor(dues: readonly (number | null)[], now: number): void {
    const known = dues.filter((due) => due !== null);
    if (known.length > 0) this.parts.arm(Math.max(now + 1, Math.min(...known)));
  }
}
