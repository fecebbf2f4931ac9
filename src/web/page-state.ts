import { formatPosition, type Position } from "../channel/position.ts";
import type { JobResource, SpaceResource, SpaceStatus } from "../protocol/resources.ts";
import type { ServerFrame, SpaceClientFrameInput } from "../protocol/subscriber-frames.ts";
import {
  applyJobFrame,
  applyResource,
  type CancelRequest,
  type FollowedJobFrame,
  isTerminal,
  labelOf,
  newJob,
  resumePosition,
  type TabJob,
} from "./job-state.ts";

/** The state of the page's socket. */
export type PageLink =
  | { kind: "connecting" }
  | { kind: "open" }
  /** `reason`: why the edge can't be reached, if that is known. */
  | { kind: "lost"; reason: string | null }
  /** `error`: why the edge closed it for good; `null` if it gave no reason. */
  | { kind: "closed"; error: { code: string; message: string } | null };

export type SpaceState =
  /** `trouble`: why the first answer has not come yet. */
  | { kind: "loading"; trouble: string | null }
  | { kind: "ready"; resource: SpaceResource }
  | { kind: "unavailable"; message: string };

/** The current submit. `trouble`: why it has not arrived yet; it is sent again. `wasDelayed`: there was trouble. */
export type Submission =
  | { kind: "idle" }
  | { kind: "sending"; ref: string; label: string; trouble: string | null; wasDelayed: boolean }
  | { kind: "refused"; code: string; message: string };

export interface Notice {
  id: number;
  text: string;
}

export interface PageState {
  link: PageLink;
  space: SpaceState;
  status: SpaceStatus | null;
  /** How many of the jobs counted in `status` belong to this tab. */
  ownInStatus: number;
  /** How far the space's channel was received; `null` before its first frame. */
  position: Position | null;
  submission: Submission;
  /** Number of accepted jobs; the form clears itself when it changes. */
  accepted: number;
  /** Newest first. */
  jobs: TabJob[];
  notices: Notice[];
  nextNotice: number;
}

export interface RememberedJob {
  id: string;
  label: string;
}

export type PageEvent =
  | { kind: "link.opened" }
  | { kind: "link.lost"; reason: string | null }
  | { kind: "link.closed"; error: { code: string; message: string } | null }
  | { kind: "space.delayed"; trouble: string }
  | { kind: "space.loaded"; resource: SpaceResource }
  | { kind: "space.unavailable"; message: string }
  | { kind: "frame"; frame: ServerFrame }
  | { kind: "submit.sent"; ref: string; label: string }
  | { kind: "submit.delayed"; ref: string; trouble: string }
  /** It is being sent again. */
  | { kind: "submit.repeated"; ref: string }
  | { kind: "submit.stopped"; ref: string }
  | { kind: "submit.answered"; ref: string; job: JobResource }
  | { kind: "submit.refused"; ref?: string; code: string; message: string }
  | { kind: "draft.changed" }
  | { kind: "job.attached"; job: RememberedJob }
  | { kind: "job.loaded"; job: JobResource }
  | { kind: "job.dismissed"; id: string }
  | { kind: "cancel.asked"; id: string }
  | { kind: "cancel.refused"; id: string; message: string }
  | { kind: "notice.added"; text: string }
  | { kind: "notice.dismissed"; id: number };

export function initialState(remembered: RememberedJob[]): PageState {
  return {
    link: { kind: "connecting" },
    space: { kind: "loading", trouble: null },
    status: null,
    ownInStatus: 0,
    position: null,
    submission: { kind: "idle" },
    accepted: 0,
    jobs: remembered.map((job) => newJob(job.id, job.label, { status: "attaching" })),
    notices: [],
    nextNotice: 1,
  };
}

/** Applies one event to the page's state; returns the same object if nothing changed. */
export function reduce(state: PageState, event: PageEvent): PageState {
  switch (event.kind) {
    case "link.opened":
      return openLink(state);
    case "link.lost":
      // The same break is reported again once its reason is known.
      if (state.link.kind === "lost" && event.reason === null) return state;
      return { ...state, link: { kind: "lost", reason: event.reason } };
    case "link.closed":
      return closeLink(state, event.error);
    case "space.delayed":
      if (state.space.kind !== "loading") return state;
      return { ...state, space: { kind: "loading", trouble: event.trouble } };
    case "space.loaded":
      return loadSpace(state, event.resource);
    case "space.unavailable":
      return { ...state, space: { kind: "unavailable", message: event.message } };
    case "frame":
      return takeFrame(state, event.frame);
    case "submit.sent":
      return startSending(state, event.ref, event.label);
    case "submit.delayed":
      return delay(state, event.ref, event.trouble);
    case "submit.repeated":
      return repeat(state, event.ref);
    case "submit.stopped":
      return refuse(state, event.ref, "stopped", STOPPED);
    case "submit.answered":
      return takeAnswer(state, event.ref, event.job);
    case "submit.refused":
      return refuse(state, event.ref, event.code, event.message);
    case "draft.changed":
      return state.submission.kind === "refused"
        ? { ...state, submission: { kind: "idle" } }
        : state;
    case "job.attached":
      return addJob(state, newJob(event.job.id, event.job.label, { status: "attaching" }));
    case "job.loaded":
      return updateJob(state, event.job.id, (job) => applyResource(job, event.job));
    case "job.dismissed":
      return { ...state, jobs: state.jobs.filter((job) => job.id !== event.id) };
    case "cancel.asked":
      return setCancel(state, event.id, { kind: "asked" });
    case "cancel.refused":
      return setCancel(state, event.id, { kind: "refused", message: event.message });
    case "notice.added":
      return addNotice(state, event.text);
    case "notice.dismissed":
      return { ...state, notices: state.notices.filter((notice) => notice.id !== event.id) };
  }
}

/** The number of this tab's jobs that have not ended, as far as the page knows. */
export function unfinished(state: Pick<PageState, "jobs">): number {
  return state.jobs.filter((job) => !isTerminal(job)).length;
}

/** The `follow` frames for a new socket: one for every job that has not ended. */
export function followsDue(state: PageState): SpaceClientFrameInput[] {
  return state.jobs
    .filter((job) => !isTerminal(job))
    .map((job) => ({ type: "follow", job_id: job.id, since: resumePosition(job) }));
}

/** The `since` to open the next socket with. */
export function spaceSince(state: PageState): string | null {
  return state.position === null ? null : formatPosition(state.position);
}

const STOPPED =
  "Stopped. The job may have been accepted or not; if you submit the same again, it runs only once.";

const SPACE_DELETED = "The space was deleted, and this job with it.";

/** What was refused for lack of a connection can be asked again. */
function openLink(state: PageState): PageState {
  const jobs = state.jobs.map((job) =>
    job.cancel.kind === "refused" ? { ...job, cancel: { kind: "none" } as const } : job,
  );
  const { submission } = state;
  const trouble = submission.kind === "sending" ? { ...submission, trouble: null } : submission;
  return { ...state, jobs, submission: trouble, link: { kind: "open" } };
}

/** With a deleted space its queue is gone, and every job that had not ended; what a job has sent can still be read. */
function closeLink(state: PageState, error: { code: string; message: string } | null): PageState {
  const link = { kind: "closed", error } as const;
  if (error?.code !== "not_found") return { ...state, link };
  const lost = { phase: { status: "failed", error: null }, note: SPACE_DELETED } as const;
  const jobs = state.jobs.map((job) => (isTerminal(job) ? job : { ...job, ...lost }));
  return { ...state, link, jobs, status: null };
}

function startSending(state: PageState, ref: string, label: string): PageState {
  const submission = { kind: "sending", ref, label, trouble: null, wasDelayed: false } as const;
  return { ...state, submission };
}

function delay(state: PageState, ref: string, trouble: string): PageState {
  const { submission } = state;
  if (submission.kind !== "sending" || submission.ref !== ref) return state;
  return { ...state, submission: { ...submission, trouble, wasDelayed: true } };
}

/** While the edge can't be reached the trouble is still there; otherwise what was wrong with the last try is over. */
function repeat(state: PageState, ref: string): PageState {
  const { submission, link } = state;
  if (submission.kind !== "sending" || submission.ref !== ref || link.kind !== "open") return state;
  return { ...state, submission: { ...submission, trouble: null } };
}

function loadSpace(state: PageState, resource: SpaceResource): PageState {
  const space: SpaceState = { kind: "ready", resource };
  // The status from frames is newer than this answer, or the next frame will replace it.
  if (state.position !== null) return { ...state, space };
  return { ...state, space, status: resource.status, ownInStatus: unfinished(state) };
}

function takeFrame(state: PageState, frame: ServerFrame): PageState {
  switch (frame.type) {
    case "connection":
      return frame.job_id === undefined
        ? connect(state, frame)
        : takeJobFrame(state, frame.job_id, frame);
    case "space.status":
      return takeStatus(state, frame);
    case "accepted":
      return state; // The page submits by HTTP.
    case "progress":
    case "output":
    case "gap":
      return takeJobFrame(state, frame.job_id, frame);
    case "error":
      return takeError(state, frame);
  }
}

function takeJobFrame(state: PageState, id: string, frame: FollowedJobFrame): PageState {
  return updateJob(state, id, (job) => applyJobFrame(job, frame));
}

function connect(state: PageState, frame: Extract<ServerFrame, { type: "connection" }>): PageState {
  const offset = frame.recovered ? (state.position?.offset ?? 0) : 0;
  return { ...state, position: { epoch: frame.epoch, offset } };
}

/** Each status is complete, so a repeated one does no harm; an older one is ignored. */
function takeStatus(
  state: PageState,
  frame: Extract<ServerFrame, { type: "space.status" }>,
): PageState {
  if (state.position === null || frame.offset < state.position.offset) return state;
  const { type: _t, space: _s, offset: _o, timestamp: _at, ...status } = frame;
  return {
    ...state,
    status,
    ownInStatus: unfinished(state),
    position: { epoch: state.position.epoch, offset: frame.offset },
  };
}

function takeAnswer(state: PageState, ref: string, job: JobResource): PageState {
  const { submission } = state;
  if (submission.kind !== "sending" || submission.ref !== ref) return state;
  const phase = { status: "queued", position: job.queue_position, message: null } as const;
  const label = submission.label === "" ? labelOf(job) : submission.label;
  return addAccepted(state, newJob(job.id, label, phase));
}

function addAccepted(state: PageState, job: TabJob): PageState {
  const next = addJob(state, job);
  return { ...next, submission: { kind: "idle" }, accepted: state.accepted + 1 };
}

function takeError(state: PageState, frame: Extract<ServerFrame, { type: "error" }>): PageState {
  const id = frame.job_id;
  if (id === undefined) return addNotice(state, frame.message);
  const job = state.jobs.find((known) => known.id === id);
  if (job === undefined) return state;
  if (frame.code !== "job_not_found") {
    return updateJob(state, id, (known) => ({ ...known, note: frame.message }));
  }
  const name = job.label === "" ? id : `“${shorten(job.label)}”`;
  const jobs = state.jobs.filter((known) => known.id !== id);
  return addNotice({ ...state, jobs }, `The job ${name} has expired: the edge no longer keeps it.`);
}

/** Without a `ref` the page itself refused the submit before sending it. */
function refuse(
  state: PageState,
  ref: string | undefined,
  code: string,
  message: string,
): PageState {
  const { submission } = state;
  const current = submission.kind === "sending" ? submission.ref : undefined;
  if (ref !== current) return state;
  return { ...state, submission: { kind: "refused", code, message } };
}

function setCancel(state: PageState, id: string, cancel: CancelRequest): PageState {
  return updateJob(state, id, (job) => (isTerminal(job) ? job : { ...job, cancel }));
}

function addJob(state: PageState, job: TabJob): PageState {
  if (state.jobs.some((known) => known.id === job.id)) return state;
  return { ...state, jobs: [job, ...state.jobs] };
}

function updateJob(state: PageState, id: string, change: (job: TabJob) => TabJob): PageState {
  const index = state.jobs.findIndex((job) => job.id === id);
  const before = state.jobs[index];
  if (before === undefined) return state;
  const after = change(before);
  return after === before ? state : { ...state, jobs: state.jobs.with(index, after) };
}

function addNotice(state: PageState, text: string): PageState {
  const notice = { id: state.nextNotice, text };
  return { ...state, notices: [...state.notices, notice], nextNotice: state.nextNotice + 1 };
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
