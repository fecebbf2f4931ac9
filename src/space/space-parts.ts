import { CatchUpPace } from "../objects/catch-up-pace.ts";
import type { SubscriberConnection } from "./connections.ts";
import { Deadlines } from "./deadlines.ts";
import { JobReads } from "./jobs/job-reads.ts";
import type { Parties } from "./jobs/parties.ts";
import { ReleasedFiles } from "./jobs/released-files.ts";
import { Retention } from "./jobs/retention.ts";
import { Submissions } from "./jobs/submissions.ts";
import { UnitOfWork } from "./jobs/unit-of-work.ts";
import { Uploads } from "./jobs/uploads.ts";
import { WebhookSender } from "./jobs/webhook-sender.ts";
import { SpaceMembers } from "./members.ts";
import type { SpaceCore } from "./space-core.ts";
import { SpaceReport } from "./space-report.ts";
import { JobFollowers } from "./subscribers/job-followers.ts";
import { SpaceStatusChannel } from "./subscribers/space-status-channel.ts";
import { type SubmitCounter, SubmitGate } from "./subscribers/submit-gate.ts";
import { SubscriberHandler } from "./subscribers/subscriber-handler.ts";
import { Leases } from "./workers/leases.ts";
import { WorkerDispatch } from "./workers/worker-dispatch.ts";
import { WorkerHandler } from "./workers/worker-handler.ts";

/** What a space needs from its object and from the platform. */
export interface SpaceDeps extends Omit<SpaceCore, "jobs" | "leases"> {
  /** Whether submitters on the edge's own machine are not limited, and may have webhooks sent anywhere. */
  localRights: boolean;
  /** Tells whose a submit is. */
  parties: Parties;
  /** Whether the edge's machine may sleep while this object's memory is kept (decision 0050). */
  mayStandStill: boolean;
  /** Counts submits over sockets (decision 0026). */
  submits: SubmitCounter;
  /** How many jobs one address may submit in the long run. */
  jobsPerMinute: number;
  /** How many bytes finished jobs may take; beyond that the oldest are erased. */
  maxKeptBytes: number;
  /** The edge's public origin, for messages to programs elsewhere; `null`: it isn't known. */
  publicOrigin: string | null;
  /** When the alarm was to go off when the object started; `null` if none was set. */
  alarmAt: number | null;
  /** Called with the user of each job that is submitted. */
  onUser: (user: string) => void;
  /** Sets the alarm for `at` (milliseconds since 1970), unless it is set for earlier. */
  armAlarm: (at: number) => void;
  /** Called when the space's report for the monitor may have changed. */
  onChange: () => void;
  /** Whether the monitor asks for the space's report by itself. */
  isPolled: () => boolean;
  /** Restarts the object, which rebuilds memory from the rows: call it when the two may differ. */
  crash: (error: unknown) => void;
}

export type SpaceParts = ReturnType<typeof connectSpaceParts>;

/**
 * Makes the parts of a space and gives each the parts that it uses.
 *
 * @param runIfOpen runs its argument in a batch of its own, unless the space was deleted meanwhile
 */
export function connectSpaceParts(
  deps: SpaceDeps,
  runIfOpen: (step: (now: number) => void) => void,
) {
  const leases = new Leases(deps.connections);
  const core: SpaceCore = { ...deps, jobs: new UnitOfWork(deps.store), leases };
  const pace = new CatchUpPace<SubscriberConnection>();
  const gate = new SubmitGate({
    counter: deps.submits,
    localRights: deps.localRights,
    jobsPerMinute: deps.jobsPerMinute,
    anonymousPerMinute: () => core.record.settings.anonymous_jobs_per_minute,
    pace,
  });
  const followers = new JobFollowers(core, runIfOpen);
  const status = new SpaceStatusChannel(core);
  const report = new SpaceReport(core, followers);
  const dispatcher = new WorkerDispatch(core, runIfOpen);
  const workers = new WorkerHandler(core, dispatcher);
  const submissions = new Submissions(core, dispatcher, deps);
  const subscribers = new SubscriberHandler(core, followers, submissions, pace);
  const members = new SpaceMembers(core, (now) => subscribers.dropStrangers(now));
  const reads = new JobReads(core);
  const webhooks = new WebhookSender({
    store: deps.webhooks,
    spaces: deps.spaces,
    allowPrivate: deps.localRights,
    jobBody: (ulid) => reads.job(ulid, deps.publicOrigin ?? ""),
    runIfOpen,
  });
  const retention = new Retention(core, deps.maxKeptBytes);
  const released = new ReleasedFiles(core);
  const uploads = new Uploads(core, deps.maxOutputBytes);
  const { isPolled, armAlarm: arm } = deps;
  const deadlines = new Deadlines({ core, workers, webhooks, retention, released, isPolled, arm });
  return {
    core,
    gate,
    pace,
    followers,
    status,
    report,
    dispatcher,
    workers,
    submissions,
    subscribers,
    members,
    reads,
    webhooks,
    retention,
    released,
    uploads,
    deadlines,
  };
}
