import type { JsonObject } from "../protocol/codec.ts";
import type { ProblemCode } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { JobOptions, SpaceSettings } from "../protocol/resources.ts";
import { type Candidate, covers } from "./dispatch.ts";
import type { JobLimits } from "./job.ts";

export type Admission = { ok: true } | { ok: false; code: ProblemCode; message: string };

/** The facts about a connected worker that decide whether a submit is accepted. */
type AdmittingWorker = Pick<Candidate, "draining" | "capabilities">;

export const ADMITTED: Admission = { ok: true };

/** Checks that the space's `enable_…` settings allow this input and files in these form fields. */
export function admitInput(
  settings: SpaceSettings,
  input: JsonObject,
  fields: readonly string[],
): Admission {
  if (input.prompt !== undefined && !settings.enable_prompt) {
    return refused("prompt_not_enabled", leaveOut("`prompt`", "enable_prompt"));
  }
  for (const field of fields) {
    const kind = field === "audio" || field === "video" ? field : "file_upload";
    if (settings[`enable_${kind}`]) continue;
    return refused(
      `${kind}_not_enabled`,
      leaveOut(`the file in \`${field.slice(0, FIELD_LENGTH)}\``, `enable_${kind}`),
    );
  }
  return ADMITTED;
}

/** How much of a field's name is repeated, characters: the submitter chose it. */
const FIELD_LENGTH = 60;

function leaveOut(what: string, setting: keyof SpaceSettings): string {
  return `Leave ${what} out: this space takes none, unless the operator of the edge turns on its setting \`${setting}\`.`;
}

/** What the space has to do already. */
export interface Backlog {
  workers: readonly AdmittingWorker[];
  /** How many jobs wait. */
  queued: number;
  /** Whether none of them is of the new job's party. */
  isFirst: boolean;
  /** How many of them are of the new job's user; `null` if it has none. */
  queuedOfUser: number | null;
  /** How many distinct sets of capabilities they require; the new job's is one of them if `hasClass`. */
  classes: number;
  hasClass: boolean;
}

/**
 * Checks that the space accepts one more job now.
 *
 * @param requires the capabilities that the new job requires
 */
export function admitNow(
  settings: SpaceSettings,
  backlog: Backlog,
  requires: readonly string[],
): Admission {
  const { workers, queued, queuedOfUser } = backlog;
  const serving = workers.filter(({ draining }) => !draining);
  if (settings.offline === "refuse" && !serving.some((worker) => covers(worker, requires))) {
    const why = refusalReason(workers, serving.length > 0, requires);
    return refused(
      "worker_not_connected",
      `${why}, so the job was not accepted. Try again when one is connected.`,
    );
  }
  if (queued >= settings.max_queue + (backlog.isFirst ? reserveOf(settings) : 0)) {
    return refused(
      "queue_full",
      `${queued} jobs wait already, as many as this space allows (\`max_queue\`): try again later.`,
    );
  }
  const { max_queued_per_user: bound } = settings;
  if (bound !== null && queuedOfUser !== null && queuedOfUser >= bound) {
    return refused(
      "queue_full",
      `${queuedOfUser} of your jobs wait already, as many as this space allows one user (\`max_queued_per_user\`): try again when some have started.`,
    );
  }
  return admitClass(backlog, requires);
}

/** How many more jobs may wait of users who have none: one user who fills the queue must not shut the others out. */
function reserveOf({ max_queue }: SpaceSettings): number {
  return Math.floor(max_queue * RESERVE);
}

const RESERVE = 0.1;

/** Jobs that require nothing have always a place among the classes. */
function admitClass({ classes, hasClass }: Backlog, requires: readonly string[]): Admission {
  if (hasClass || requires.length === 0 || classes < LIMITS.waitingClasses) return ADMITTED;
  return refused(
    "queue_full",
    `The waiting jobs require ${classes} different sets of capabilities (\`requires\`), as many as a space takes: try again later, or require what other jobs do.`,
  );
}

/** Checks that whoever submits may give a job this priority. */
export function admitPriority(
  settings: SpaceSettings,
  priority: number,
  { isManager, userId }: { isManager: boolean; userId: string | null },
): Admission {
  if (isManager) return ADMITTED;
  const setting = userId === null ? "max_priority_anonymous" : "max_priority_user";
  if (priority <= settings[setting]) return ADMITTED;
  const who = userId === null ? "without signing in" : "to you";
  return refused(
    "not_allowed",
    `\`priority\` is ${priority}; this space allows ${settings[setting]} ${who} (\`${setting}\`). Send a lower one.`,
  );
}

function refusalReason(
  workers: readonly AdmittingWorker[],
  isServed: boolean,
  requires: readonly string[],
): string {
  if (workers.length === 0) return "No worker is connected to this space";
  if (!isServed) return "The worker of this space takes no new jobs";
  const isLeaving = workers.some((worker) => covers(worker, requires));
  const named = requires.join(", ");
  return isLeaving
    ? `The worker with ${named} takes no new jobs`
    : `No connected worker has ${named}`;
}

/** Checks the size of an input: it shares one row of the store with the job's result. */
export function admitSize(inputBytes: number): Admission {
  if (inputBytes <= LIMITS.inputBytes) return ADMITTED;
  const message = `\`input\` has ${inputBytes} bytes; ${LIMITS.inputBytes} are allowed. Send large data as a file.`;
  return refused("payload_too_large", message);
}

/** The limits of a new job: the space's, or lower ones if the submitter requested them. */
export function limitsFor(settings: SpaceSettings, options: JobOptions): JobLimits {
  return {
    queueTimeoutS: lowerOf(settings.queue_timeout_s, options.queue_timeout_s),
    firstOutputTimeoutS: lowerOf(settings.first_output_timeout_s, options.first_output_timeout_s),
    stallTimeoutS: lowerOf(settings.stall_timeout_s, options.stall_timeout_s),
    jobTimeoutS: Math.min(
      settings.job_timeout_s,
      options.job_timeout_s ?? Number.POSITIVE_INFINITY,
    ),
    maxAttempts: settings.max_attempts,
    reconnectGraceS: settings.reconnect_grace_s,
  };
}

function lowerOf(ofSpace: number | null, requested: number | undefined): number | null {
  if (requested === undefined) return ofSpace;
  return ofSpace === null ? requested : Math.min(ofSpace, requested);
}

function refused(code: ProblemCode, message: string): Admission {
  return { ok: false, code, message };
}
