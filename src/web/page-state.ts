import type { JobEvent } from "../client/job-channel.ts";
import type { AnyJob } from "../client/job-resource.ts";
import type { SpaceResource, SpaceStatus } from "../protocol/resources.ts";
import {
  applyJobEvent,
  applyResource,
  type CancelRequest,
  isTerminal,
  newJob,
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
  /** `code`: the edge's own; whoever is `not_authenticated` can sign in. */
  | { kind: "unavailable"; code: string; message: string };

/** The current submit. `trouble`: why it has not arrived yet; it is sent again. `wasDelayed`: there was trouble. */
export type Submission =
  | { kind: "idle" }
  | { kind: "sending"; ref: string; label: string; trouble: string | null; wasDelayed: boolean }
  /** `errors`: what is wrong with which part of it. */
  | { kind: "refused"; code: string; message: string; errors: FieldError[] };

interface FieldError {
  path: string;
  message: string;
}

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
  /** Whether `status` was received over the socket, so that it is newer than the answer to a request. */
  isStatusLive: boolean;
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
  share?: string | null;
}

export type PageEvent =
  | { kind: "link.opened" }
  | { kind: "link.lost"; reason: string | null }
  | { kind: "link.closed"; error: { code: string; message: string } | null }
  | { kind: "space.delayed"; trouble: string }
  | { kind: "space.loaded"; resource: SpaceResource }
  | { kind: "space.unavailable"; code: string; message: string }
  | { kind: "status"; status: SpaceStatus }
  | { kind: "submit.sent"; ref: string; label: string }
  | { kind: "submit.delayed"; ref: string; trouble: string }
  /** It is being sent again. */
  | { kind: "submit.repeated"; ref: string }
  | { kind: "submit.stopped"; ref: string }
  | { kind: "submit.answered"; ref: string; id: string }
  | {
      kind: "submit.refused";
      ref?: string;
      code: string;
      message: string;
      errors?: FieldError[];
    }
  | { kind: "draft.changed" }
  | { kind: "job.attached"; job: RememberedJob }
  | { kind: "job.loaded"; job: AnyJob }
  | { kind: "job.event"; id: string; event: JobEvent }
  /** The job can't be followed, for good. */
  | { kind: "job.refused"; id: string; code: string; message: string }
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
    isStatusLive: false,
    submission: { kind: "idle" },
    accepted: 0,
    jobs: remembered.map(attaching),
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
      return {
        ...state,
        space: { kind: "unavailable", code: event.code, message: event.message },
      };
    case "status":
      return takeStatus(state, event.status);
    case "submit.sent":
      return startSending(state, event.ref, event.label);
    case "submit.delayed":
      return delay(state, event.ref, event.trouble);
    case "submit.repeated":
      return repeat(state, event.ref);
    case "submit.stopped":
      return refuse(state, { ref: event.ref, code: "stopped", message: STOPPED });
    case "submit.answered":
      return takeAnswer(state, event.ref, event.id);
    case "submit.refused":
      return refuse(state, event);
    case "draft.changed":
      return state.submission.kind === "refused"
        ? { ...state, submission: { kind: "idle" } }
        : state;
    case "job.attached":
      return addJob(state, attaching(event.job));
    case "job.loaded":
      return updateJob(state, event.job.id, (job) => applyResource(job, event.job));
    case "job.event":
      return updateJob(state, event.id, (job) => applyJobEvent(job, event.event));
    case "job.refused":
      return refuseJob(state, event);
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

function attaching({ id, label, share }: RememberedJob): TabJob {
  return newJob(id, label, { status: "attaching" }, share);
}

const STOPPED =
  "Stopped. The job may have been accepted or not; if you submit the same again, it runs only once.";

export const LINK_VOID =
  "This link no longer opens its job: it was withdrawn or replaced by another one, or the job has expired.";

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
  if (state.isStatusLive) return { ...state, space };
  return { ...state, space, status: resource.status, ownInStatus: unfinished(state) };
}

function takeStatus(state: PageState, status: SpaceStatus): PageState {
  return { ...state, status, ownInStatus: unfinished(state), isStatusLive: true };
}

function takeAnswer(state: PageState, ref: string, id: string): PageState {
  const { submission } = state;
  if (submission.kind !== "sending" || submission.ref !== ref) return state;
  // Its place in the queue comes with its first event.
  const phase = { status: "queued", position: null, message: null } as const;
  return addAccepted(state, newJob(id, submission.label, phase));
}

function addAccepted(state: PageState, job: TabJob): PageState {
  const next = addJob(state, job);
  return { ...next, submission: { kind: "idle" }, accepted: state.accepted + 1 };
}

function refuseJob(
  state: PageState,
  { id, code, message }: Extract<PageEvent, { kind: "job.refused" }>,
): PageState {
  const job = state.jobs.find((known) => known.id === id);
  if (job === undefined) return state;
  const jobs = state.jobs.filter((known) => known.id !== id);
  if (job.share !== null) return addNotice({ ...state, jobs }, LINK_VOID);
  if (code !== "job_not_found")
    return updateJob(state, id, (known) => ({ ...known, note: message }));
  const name = job.label === "" ? id : `“${shorten(job.label)}”`;
  return addNotice({ ...state, jobs }, `The job ${name} has expired: the edge no longer keeps it.`);
}

/** Without a `ref` the page itself refused the submit before sending it. */
function refuse(
  state: PageState,
  { ref, code, message, errors = [] }: Omit<Extract<PageEvent, { kind: "submit.refused" }>, "kind">,
): PageState {
  const { submission } = state;
  const current = submission.kind === "sending" ? submission.ref : undefined;
  if (ref !== current) return state;
  return { ...state, submission: { kind: "refused", code, message, errors } };
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
