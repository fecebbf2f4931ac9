import { iso } from "../protocol/iso.ts";
import type { SpaceSettings } from "../protocol/resources.ts";
import { slotsOf } from "../queue/dispatch.ts";
import type { Job } from "../queue/job.ts";
import { type SpaceSnapshot, spaceStatusOf, waitingReasonFor } from "../queue/status.ts";
import type { ReadyWorker } from "./connections.ts";
import type { ServingWorker } from "./jobs/unit-of-work.ts";
import type { JobContext } from "./render.ts";
import type { SpaceCore } from "./space-core.ts";

/** The workers that are connected and registered, and what they can do. */
export function presentWorkers({ connections }: SpaceCore) {
  return connections.readyWorkers().map(({ attachment: { state } }) => ({
    state,
    capabilities: new Set(state.capabilities),
    draining: state.phase === "draining",
  }));
}

/** The registered workers with their free slots, as `dispatch` needs them. */
export function servingWorkers(core: SpaceCore): ServingWorker[] {
  const running = core.jobs.runningJobs();
  return presentWorkers(core).map(({ state, ...present }) => ({
    ...present,
    id: state.workerId,
    name: state.name,
    generation: state.generation,
    slots: slotsOf(state.offered, core.record.settings.concurrency),
    load: state.load,
    busy: running.filter((job) => job.generation === state.generation).length,
  }));
}

/** The counts from which a space's status is made. */
export function snapshotOf(core: SpaceCore): SpaceSnapshot {
  const running = core.jobs.runningJobs();
  return {
    workers: servingWorkers(core),
    queued: core.jobs.queue.size,
    requested: core.jobs.queue.requested,
    processing: running.length,
    detached: running.filter((job) => job.detachedAt !== null).length,
    meanRunS: core.jobs.meanRunS,
  };
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

/** The space as `GET /api/spaces/:space` shows it, as JSON text. */
export function spaceBody(core: SpaceCore): string {
  const { name, settings, createdAt, updatedAt } = core.record;
  const self = `/api/spaces/${name}`;
  return JSON.stringify({
    name,
    ...settings,
    created_at: iso(createdAt),
    updated_at: iso(updatedAt),
    status: spaceStatusOf(snapshotOf(core)),
    urls: { self, page: `/spaces/${name}`, jobs: `${self}/jobs`, ws: `${self}/ws` },
  });
}

/** The job's place in the queue, and why it waits. */
export function jobContextOf(core: SpaceCore, job: Job): JobContext {
  const { record, jobs } = core;
  const waitingReason =
    job.status === "queued" ? waitingReasonFor(snapshotOf(core), job.requires) : null;
  return { space: record.name, queuePosition: jobs.queue.position(job), waitingReason };
}
