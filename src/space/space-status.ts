import type { Caller } from "../auth/caller.ts";
import { iso } from "../protocol/iso.ts";
import type { SpaceSettings, SpaceStatus } from "../protocol/resources.ts";
import { latestEnd } from "../queue/deadline.ts";
import { slotsOf } from "../queue/dispatch.ts";
import type { RunningAttempt } from "../queue/estimated-wait.ts";
import type { Job, ProcessingJob } from "../queue/job.ts";
import {
  boundReason,
  type SpaceSnapshot,
  spaceStatusOf,
  waitingReasonFor,
} from "../queue/status.ts";
import { accessOf } from "./access.ts";
import type { ReadyWorker } from "./connections.ts";
import type { ServingWorker } from "./jobs/unit-of-work.ts";
import type { JobContext } from "./render.ts";
import type { SpaceCore } from "./space-core.ts";

/** The workers that are connected and registered, and what they can do. */
export function presentWorkers({ connections }: SpaceCore) {
  return connections.readyWorkers().map((worker) => {
    const { state } = worker.attachment;
    const capabilities = new Set(state.capabilities);
    return { worker, state, capabilities, draining: state.phase === "draining" };
  });
}

/** The registered workers with their free slots, as `dispatch` needs them. */
export function servingWorkers(core: SpaceCore): (ServingWorker & { worker: ReadyWorker })[] {
  const busy = new Map<number, number>();
  for (const { generation } of core.jobs.runningJobs()) {
    busy.set(generation, (busy.get(generation) ?? 0) + 1);
  }
  return presentWorkers(core).map(({ state, ...present }) => ({
    ...present,
    id: state.workerId,
    name: state.name,
    generation: state.generation,
    slots: slotsOf(state.offered, core.record.settings.concurrency),
    load: state.load,
    busy: busy.get(state.generation) ?? 0,
    room: present.worker.reader.room,
  }));
}

/** The counts from which the reasons for waiting are found. */
function snapshotOf(
  core: SpaceCore,
  now: number,
  waiting: Pick<SpaceSnapshot, "classes" | "aheadButBound">,
): SpaceSnapshot {
  const running = core.jobs.runningJobs();
  return {
    workers: servingWorkers(core).map(({ worker, ...serving }) => ({
      ...serving,
      offered: worker.attachment.state.offered,
      silentS: core.leases.silenceOf(worker, now),
    })),
    maxWorkers: core.record.settings.max_workers,
    queued: core.jobs.queue.size,
    ...waiting,
    processing: running.length,
    detached: running.filter((job) => job.detachedAt !== null).length,
  };
}

/** The status of the space now. */
export function statusOf(core: SpaceCore, now: number): SpaceStatus {
  const attempts = new Map<number, RunningAttempt[]>();
  for (const job of core.jobs.runningJobs()) {
    const attempt = attemptOf(job, now);
    const others = attempts.get(job.generation);
    if (others) others.push(attempt);
    else attempts.set(job.generation, [attempt]);
  }
  const { queue } = core.jobs;
  const aheadButBound = queue.aheadButBound(core.record.settings.max_running_per_user);
  const waiting = { classes: queue.waitingClasses, aheadButBound };
  return spaceStatusOf(snapshotOf(core, now, waiting), { attempts, meanRunS: core.jobs.meanRunS });
}

function attemptOf(job: ProcessingJob, now: number): RunningAttempt {
  const { reportedAt, progress, estimatedRemaining: remainingS } = job.live;
  return {
    ranS: secondsSince(job.dispatchedAt, now),
    report:
      reportedAt === null ? null : { agoS: secondsSince(reportedAt, now), progress, remainingS },
    limitS: (latestEnd(job) - now) / 1_000,
  };
}

/** 0 if the clock was set back. */
function secondsSince(at: number, now: number): number {
  return Math.max(0, now - at) / 1_000;
}

/** The settings that a worker is sent in `registered` and `config`. */
export function workerConfigOf(settings: SpaceSettings, worker: ReadyWorker) {
  return {
    concurrency: slotsOf(worker.attachment.state.offered, settings.concurrency),
    job_timeout_s: settings.job_timeout_s,
    first_output_timeout_s: settings.first_output_timeout_s,
    stall_timeout_s: settings.stall_timeout_s,
    reconnect_grace_s: settings.reconnect_grace_s,
  };
}

/** The space as `GET /api/spaces/:space` shows it to the caller, as JSON text. */
export function spaceBody(core: SpaceCore, caller: Caller): string {
  const { name, settings, owner, createdAt, updatedAt } = core.record;
  const access = accessOf(core.record, caller);
  const self = `/api/spaces/${name}`;
  return JSON.stringify({
    name,
    ...settings,
    owner,
    access: access === "use" || access === "manage" ? access : null,
    created_at: iso(createdAt),
    updated_at: iso(updatedAt),
    status: statusOf(core, Date.now()),
    urls: { self, page: `/spaces/${name}`, jobs: `${self}/jobs`, ws: `${self}/ws` },
  });
}

function waitingReasonOf(core: SpaceCore, { party, requires }: Job, now: number): string | null {
  const { max_running_per_user: bound } = core.record.settings;
  if (bound !== null && core.jobs.queue.isBound(party, bound)) return boundReason(bound);
  // The reason for one job depends on no other that waits.
  return waitingReasonFor(snapshotOf(core, now, { classes: [], aheadButBound: 0 }), requires);
}

/** The job's place in the queue, and why it waits. */
export function jobContextOf(core: SpaceCore, job: Job): JobContext {
  const { record, jobs } = core;
  const now = Date.now();
  const isQueued = job.status === "queued";
  return {
    space: record.name,
    queuePosition: jobs.queue.position(job),
    waitingReason: isQueued ? waitingReasonOf(core, job, now) : null,
    delayS: isQueued && job.availableAt > now ? Math.ceil((job.availableAt - now) / 1_000) : null,
    outputUrl: core.outputUrl,
  };
}
