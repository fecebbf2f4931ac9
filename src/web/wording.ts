import type { SpaceResource, SpaceStatus } from "../protocol/resources.ts";
import type { Phase, TabJob } from "./job-state.ts";
import { type PageLink, type PageState, unfinished } from "./page-state.ts";

export type PillState =
  | "connected"
  | "disconnected"
  | "reconnecting"
  | "draining"
  | "offline"
  | "loading";

export interface Pill {
  state: PillState;
  text: string;
}

const PILLS: Record<SpaceStatus["worker"], Pill> = {
  connected: { state: "connected", text: "Connected" },
  disconnected: { state: "disconnected", text: "Not connected" },
  reconnecting: { state: "reconnecting", text: "Reconnecting — not connected" },
  draining: { state: "draining", text: "Draining" },
};

/** Without a socket the page does not know the worker's state, so it shows its own. */
export function pillOf(state: Pick<PageState, "link" | "space" | "status">): Pill {
  if (state.space.kind === "unavailable") return { state: "offline", text: "Not available" };
  if (state.link.kind === "lost") {
    return { state: "offline", text: "Offline: trying to reach the edge" };
  }
  if (state.link.kind === "closed") return { state: "offline", text: "Offline" };
  if (state.status === null) return { state: "loading", text: "Connecting…" };
  return workerPill(state.status);
}

export function workerPill({ worker, worker_silent_s: silentS }: SpaceStatus): Pill {
  if (worker !== "connected" || silentS === undefined) return PILLS[worker];
  return { state: "reconnecting", text: `Not heard of for ${formatSeconds(silentS)}` };
}

/** How long a job that is submitted now would wait; `undefined` if there is no worker for it. */
export function waitText(status: SpaceStatus | null): string | undefined {
  if (status === null) return undefined;
  const { worker, estimated_wait_s: wait } = status;
  if (wait === null) return worker === "connected" ? "unknown" : undefined;
  if (wait === 0) return "none";
  return wait < 1 ? formatSeconds(wait) : `about ${formatSeconds(wait)}`;
}

/** What the form says while a submit has not arrived; `null` if there is no trouble. */
export function submitTrouble({ submission }: Pick<PageState, "submission">): string | null {
  if (submission.kind !== "sending" || submission.trouble === null) return null;
  return `${submission.trouble} Trying again…`;
}

/** The refusal of the last submit; `null` if there is none, or its reason is gone. */
export function shownRefusal({
  submission,
  status,
}: Pick<PageState, "submission" | "status">): { code: string; message: string } | null {
  if (submission.kind !== "refused") return null;
  const isGone = submission.code === "worker_not_connected" && status?.worker === "connected";
  return isGone ? null : submission;
}

/** Explains why the edge closed the page's socket for good. */
export function closeReason(link: Extract<PageLink, { kind: "closed" }>): string {
  const { error } = link;
  if (error === null) return "The edge ended the connection.";
  const known: Record<string, string> = {
    malformed_frame: "The edge did not understand this page.",
    not_authenticated: "The edge asks for a sign-in.",
    not_allowed: "The edge does not allow this page to follow the space.",
    not_found: "The space does not exist any more.",
    space_not_found: "The space does not exist any more.",
  };
  const text = known[error.code] ?? "The edge ended the connection for good.";
  return `${text} (${error.code}: ${error.message})`;
}

/** Warns if a job submitted now would wait, be refused or not be sent; otherwise `null`. */
export function submitHint(
  state: Pick<PageState, "link" | "status" | "submission" | "jobs" | "ownInStatus">,
  resource: SpaceResource,
): string | null {
  const { link, status, submission } = state;
  if (link.kind === "lost") {
    const why = link.reason ?? "The page has lost the edge.";
    return `${why} The page keeps trying; until then it shows no news.`;
  }
  if (link.kind === "closed") return closeReason(link);
  const noWorker = submission.kind === "refused" && submission.code === "worker_not_connected";
  if (status?.worker === "connected" && noWorker) {
    return "A worker is connected now: submit again.";
  }
  // The refusal shown above the hint already says this.
  return noWorker || isOwnRun(state) ? null : waitingHint(resource, status);
}

/** Whether all running jobs are this tab's and none waits; then “the worker is busy” is no news. */
function isOwnRun(state: Pick<PageState, "status" | "jobs" | "ownInStatus">): boolean {
  const { status } = state;
  if (status?.worker !== "connected" || status.queue_size > 0) return false;
  if (status.worker_silent_s !== undefined) return false;
  // The status arrives shortly after a job's end, and sometimes before the answer to a submit.
  return status.processing <= Math.max(state.ownInStatus, unfinished(state));
}

function waitingHint(resource: SpaceResource, status: SpaceStatus | null): string | null {
  if (status === null || status.worker === "connected") return status?.waiting_reason ?? null;
  if (status.worker === "draining") {
    return status.waiting_reason ?? "The worker takes no new jobs.";
  }
  if (resource.offline === "queue") {
    return "No worker is connected. A job sent now waits in the queue until one is.";
  }
  return "No worker is connected, and this space refuses jobs until one is.";
}

/**
 * Why a job waits. What its own state says of a job that was never dispatched was true when the page got it, and isn't
 * sent again: the current reason of the space replaces it.
 */
export function queuedMessage(
  { attempt, phase }: Pick<TabJob, "attempt" | "phase">,
  status: SpaceStatus | null,
): string | null {
  if (phase.status !== "queued" || phase.message === null) return null;
  return attempt > 0 ? phase.message : (status?.waiting_reason ?? phase.message);
}

export function statusWord(status: Phase["status"]): string {
  const words = {
    attaching: "Looking it up",
    queued: "Queued",
    processing: "Processing",
    completed: "Completed",
    failed: "Failed",
    canceled: "Canceled",
  };
  return words[status];
}

/** 1st, 2nd, 3rd, 4th, 11th, 21st. */
export function ordinal(count: number): string {
  const teens = count % 100;
  const suffix = teens >= 11 && teens <= 13 ? "th" : (["th", "st", "nd", "rd"][count % 10] ?? "th");
  return `${count}${suffix}`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 1_048_576) return `${trim(bytes / 1024)} KB`;
  if (bytes < 1_073_741_824) return `${trim(bytes / 1_048_576)} MB`;
  return `${trim(bytes / 1_073_741_824)} GB`;
}

function trim(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
}
