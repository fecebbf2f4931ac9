import type { JsonObject } from "../protocol/codec.ts";
import type { ProblemCode } from "../protocol/codes.ts";
import type { SubmitJobBody } from "../protocol/resources.ts";
import { admitInput, admitNow, admitSize, limitsFor } from "../queue/admission.ts";
import type { Job, StoredFile } from "../queue/job.ts";
import { type SpaceCore, workerStateOf } from "./core.ts";
import type { WorkerDesk } from "./worker-desk.ts";

/** A job as it arrives at its space. */
export interface Submission {
  input: JsonObject;
  inputBytes: number;
  files: StoredFile[];
  options: Omit<SubmitJobBody, "input">;
  /** The connection it came over, if one. */
  submitter: string | null;
}

export type Taken = { ok: true; job: Job } | { ok: false; code: ProblemCode; message: string };

/** Takes jobs into the space, and takes them back. */
export class Intake {
  private readonly core: SpaceCore;
  private readonly workers: WorkerDesk;

  constructor(core: SpaceCore, workers: WorkerDesk) {
    this.core = core;
    this.workers = workers;
  }

  submit({ input, inputBytes, files, options, submitter }: Submission, now: number): Taken {
    const { settings } = this.core.record;
    const fields = files.map(({ field }) => field);
    for (const admission of [
      admitSize(inputBytes),
      admitInput(settings, input, fields),
      admitNow(settings, this.core.ledger.queuedCount, workerStateOf(this.core)),
    ]) {
      if (!admission.ok) return admission;
    }
    const job = this.core.ledger.submit(
      {
        priority: options.priority ?? 0,
        input,
        files,
        user: null,
        limits: limitsFor(settings, options),
        cancelOnDisconnect: options.cancel_on_disconnect ?? false,
        submitter,
      },
      now,
    );
    return { ok: true, job };
  }

  /** `false` where there is no such job; one that is over stays as it ended. */
  cancel(ulid: string, reason: string, now: number): boolean {
    const reaction = this.core.ledger.apply(ulid, { type: "cancel", reason }, now);
    if (reaction.kind === "applied") this.workers.perform(reaction.job, reaction.effects);
    return reaction.kind !== "unknown";
  }
}
