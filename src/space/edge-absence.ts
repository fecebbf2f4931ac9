import { decodeTime } from "ulid";
import { StandstillWatch } from "../objects/standstill.ts";
import { startTimer } from "../objects/start-timer.ts";
import { dueAt } from "../queue/deadline.ts";
import type { ProcessingJob } from "../queue/job.ts";
import type { SpaceCore } from "./space-core.ts";
import type { SubscriberHandler } from "./subscribers/subscriber-handler.ts";
import { LEASE_S } from "./workers/leases.ts";
import type { WorkerHandler } from "./workers/worker-handler.ts";

/** An alarm that is later than this, milliseconds, was late because the edge was away. */
const LATE_MS = 2_000;

interface EdgeAbsenceDeps {
  core: SpaceCore;
  workers: WorkerHandler;
  subscribers: SubscriberHandler;
  /** Whether the edge's machine may sleep. If it can't, no timer keeps the object in memory. */
  mayStandStill: boolean;
  /** Runs its argument in a batch of its own, unless the space was deleted meanwhile. */
  runIfOpen: (step: (now: number) => void) => void;
}

/** Makes up for the time in which the edge did not run: nobody could have used it (decisions 0040 and 0050). */
export class EdgeAbsence {
  private readonly deps: EdgeAbsenceDeps;
  private readonly watch: StandstillWatch;

  constructor(deps: EdgeAbsenceDeps) {
    this.deps = deps;
    this.watch = new StandstillWatch({
      isNeeded: () => this.isNeeded,
      startTimer,
      // Every batch looks at the clock first.
      onLate: () => deps.runIfOpen(() => undefined),
    });
  }

  /**
   * Call this when the object starts. Sockets may be gone without a close event: the grace of an attempt whose worker's
   * socket is gone begins now.
   */
  onStart(alarmAt: number | null, now: number): void {
    const { core } = this.deps;
    const { orphans, awayMs } = absenceOf(core, alarmAt, now);
    for (const { ulid } of orphans) core.jobs.apply(ulid, { type: "detach", awayMs }, now);
    if (awayMs > 0) this.extendQueueTimeouts(awayMs);
  }

  /** Call this at the beginning of a batch, before anything is decided by the clock. */
  onBatch(now: number): void {
    const awayMs = this.watch.look(now);
    if (awayMs === 0) return;
    const { core, workers, subscribers } = this.deps;
    for (const { ulid } of core.jobs.runningJobs()) {
      core.jobs.apply(ulid, { type: "make_up", awayMs }, now);
    }
    this.extendQueueTimeouts(awayMs);
    workers.makeUpFor(awayMs, now);
    subscribers.resumedAt = now;
  }

  /** Call this when a batch is stored. */
  onStored(now: number): void {
    this.watch.update(now);
  }

  stop(): void {
    this.watch.stop();
  }

  private get isNeeded(): boolean {
    const { core, mayStandStill } = this.deps;
    const { connections, jobs } = core;
    if (!mayStandStill) return false;
    return connections.hasWorkers || jobs.queue.size > 0 || jobs.runningJobs().length > 0;
  }

  private extendQueueTimeouts(awayMs: number): void {
    const { store, spaces } = this.deps.core;
    store.extendQueueTimeouts(awayMs);
    spaces.addAway(awayMs);
  }
}

/**
 * Finds out, when a space's object starts, whether the edge was away: killed, or its machine asleep. Nothing
 * is written while it is away or idle, so the signs are what should have happened and did not: workers' sockets
 * are gone without a close, or a limit ran out and no alarm went off.
 *
 * @param alarmAt when the alarm was to go off; `null` if that is not known
 * @returns the attempts whose worker must come back, and for how long the edge was away at most, milliseconds;
 *   0 if it was not
 */
function absenceOf(
  core: SpaceCore,
  alarmAt: number | null,
  now: number,
): { orphans: ProcessingJob[]; awayMs: number } {
  const present = new Set(
    core.connections.readyWorkers().map(({ attachment }) => attachment.state.generation),
  );
  const absent = core.jobs.runningJobs().filter(({ generation }) => !present.has(generation));
  const isLate = (due: number | null) => due !== null && now - due > LATE_MS;
  const orphans = absent.filter((job) => job.detachedAt === null || isLate(dueAt(job)));
  if (orphans.length === 0 && !isLate(core.store.earliestQueueDue())) {
    return { orphans, awayMs: 0 };
  }
  return { orphans, awayMs: Math.max(1, now - lastSignAt(core, alarmAt, now)) };
}

/** The latest time at which the edge is known to have been there, milliseconds since 1970. */
function lastSignAt({ jobs, store }: SpaceCore, alarmAt: number | null, now: number): number {
  const running = jobs.runningJobs();
  const newest = store.newestUlid();
  const signs = running.flatMap(({ updatedAt, live }) => [updatedAt, live.lastFrameAt ?? 0]);
  if (newest !== null) signs.push(decodeTime(newest));
  // While attempts run, the alarm checks the leases: it was set at most one lease before it was to go off.
  if (running.length > 0 && alarmAt !== null) signs.push(alarmAt - LEASE_S * 1_000);
  return Math.min(now, Math.max(0, ...signs));
}
