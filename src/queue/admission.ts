import type { JsonObject } from "../protocol/codec.ts";
import type { ProblemCode } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { JobOptions, SpaceSettings } from "../protocol/resources.ts";
import { type Candidate, covers } from "./dispatch.ts";
import type { JobLimits } from "./job.ts";

export type Admission = { ok: true } | { ok: false; code: ProblemCode; message: string };

/** As much of a connected worker as decides about a submit. */
type AdmittingWorker = Pick<Candidate, "draining" | "capabilities">;

const ADMITTED: Admission = { ok: true };

/** Whether the space's switches allow this input with files in these form fields. */
export function admitInput(
  settings: SpaceSettings,
  input: JsonObject,
  fields: readonly string[],
): Admission {
  if (input.prompt !== undefined && !settings.enable_prompt) {
    return refused("prompt_not_enabled", "Leave `prompt` out: this space takes none.");
  }
  for (const field of fields) {
    const kind = field === "audio" || field === "video" ? field : "file_upload";
    if (settings[`enable_${kind}`]) continue;
    return refused(
      `${kind}_not_enabled`,
      `Leave the file in \`${field}\` out: this space takes none.`,
    );
  }
  return ADMITTED;
}

/** Whether the space takes one more job now, with so many waiting and a worker there or not. */
export function admitNow(
  settings: SpaceSettings,
  { workers, queued }: { workers: readonly AdmittingWorker[]; queued: number },
  requires: readonly string[],
): Admission {
  const serving = workers.filter(({ draining }) => !draining);
  if (settings.offline === "refuse" && !serving.some((worker) => covers(worker, requires))) {
    const why =
      serving.length > 0
        ? `No connected worker has ${requires.join(", ")}`
        : workers.length > 0
          ? "The worker of this space is finishing its jobs and takes no new ones"
          : "No worker is connected to this space";
    return refused(
      "worker_not_connected",
      `${why}, so the job was not accepted. Try again when one is connected.`,
    );
  }
  if (queued >= settings.max_queue) {
    return refused("queue_full", `${queued} jobs wait already, as many as this space allows.`);
  }
  return ADMITTED;
}

/** An input must fit one row of the store beside its result. */
export function admitSize(inputBytes: number): Admission {
  if (inputBytes <= LIMITS.inputBytes) return ADMITTED;
  const message = `\`input\` has ${inputBytes} bytes; ${LIMITS.inputBytes} are allowed. Send large data as a file.`;
  return refused("payload_too_large", message);
}

/** The limits a job runs under: the space's, or lower where the submitter asked so. */
export function limitsFor(settings: SpaceSettings, asked: JobOptions): JobLimits {
  return {
    queueTimeoutS: lower(settings.queue_timeout_s, asked.queue_timeout_s),
    firstOutputTimeoutS: lower(settings.first_output_timeout_s, asked.first_output_timeout_s),
    stallTimeoutS: lower(settings.stall_timeout_s, asked.stall_timeout_s),
    jobTimeoutS: Math.min(settings.job_timeout_s, asked.job_timeout_s ?? Number.POSITIVE_INFINITY),
    maxAttempts: settings.max_attempts,
    reconnectGraceS: settings.reconnect_grace_s,
  };
}

function lower(ofSpace: number | null, asked: number | undefined): number | null {
  if (asked === undefined) return ofSpace;
  return ofSpace === null ? asked : Math.min(ofSpace, asked);
}

function refused(code: ProblemCode, message: string): Admission {
  return { ok: false, code, message };
}
