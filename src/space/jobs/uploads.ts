import { ulid as newId } from "ulid";
import { type OutputPlace, outputFolder } from "../../files/file-keys.ts";
import type { Refusal } from "../../objects/reply.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { UploadedFile } from "../../protocol/output-files.ts";
import type { ProcessingJob } from "../../queue/job.ts";
import { admitUpload, NO_FILES, type OutputFile, outputsOf } from "../../queue/output-files.ts";
import { ATTEMPT_OVER } from "../calls.ts";
import type { SpaceCore } from "../space-core.ts";

/** The attempt that a file is for; the Worker has checked that its sender has the worker's address. */
export interface UploadTarget {
  ulid: string;
  attempt: number;
  workerId: string;
}

/** A file that is about to come; `sha256` in hexadecimal digits, `null` if it isn't known yet. */
export interface ComingFile {
  name: string;
  size: number;
  sha256: string | null;
}

/** Where the file is to be stored; or the file itself, if it was sent before. */
export type UploadStart = { ok: true; place: OutputPlace } | { ok: true; stored: UploadedFile };
export type UploadEnd = { ok: true; stored: UploadedFile; isRepeat: boolean } | Refusal;

/** Admits the files that running attempts send (decision 0063). */
export class Uploads {
  private readonly core: SpaceCore;
  private readonly maxBytes: number;
  /** Those that are on their way, by attempt: their sizes by name. A worker may not send more at once than in turn. */
  private readonly coming = new Map<string, Map<string, number>>();

  /** @param maxBytes how much an attempt may send */
  constructor(core: SpaceCore, maxBytes: number) {
    this.core = core;
    this.maxBytes = maxBytes;
  }

  /** Whether a file may come, and where it is to be stored. */
  start(target: UploadTarget, file: ComingFile): UploadStart | Refusal {
    const job = this.attemptOf(target);
    if (job === null) return ATTEMPT_OVER;
    this.forgetEnded();
    const key = keyOf(target);
    const coming = this.coming.get(key) ?? new Map<string, number>();
    const admission = this.admit(job, coming, file);
    if (!admission.ok) return refusalOf(admission);
    if (admission.stored) return { ok: true, stored: asUploaded(admission.stored) };
    this.coming.set(key, coming.set(file.name, file.size));
    const folder = outputFolder(this.core.record.name, target.ulid);
    return { ok: true, place: { folder, id: newId() } };
  }

  /** The file is in the bucket: it belongs to the attempt from now on. Must run inside a batch. */
  finish(target: UploadTarget, file: OutputFile, now: number): UploadEnd {
    this.forget(target, file.name);
    const job = this.attemptOf(target);
    if (job === null) return ATTEMPT_OVER;
    const admission = this.admit(job, new Map(), file);
    if (!admission.ok) return refusalOf(admission);
    if (admission.stored) return { ok: true, stored: asUploaded(admission.stored), isRepeat: true };
    const { ulid, attempt } = target;
    const reaction = this.core.jobs.apply(ulid, { type: "store_file", attempt, file }, now);
    if (reaction.kind !== "applied") return ATTEMPT_OVER;
    return { ok: true, stored: asUploaded(file), isRepeat: false };
  }

  /** Whether a job has the file, now that the batch is stored: its attempt may have ended within it. */
  isKept(ulid: string, { id }: OutputFile): boolean {
    const job = this.core.jobs.get(ulid);
    if (job === null) return false;
    const files = job.status === "processing" ? job.live.files?.stored : outputsOf(job);
    return files?.some((file) => file.id === id) ?? false;
  }

  /** A file that was to come doesn't. */
  forget(target: UploadTarget, name: string): void {
    this.coming.get(keyOf(target))?.delete(name);
  }

  private attemptOf({ ulid, attempt, workerId }: UploadTarget): ProcessingJob | null {
    // Any other job has ended or waits, and may be large.
    const job = this.core.jobs.isRunning(ulid) ? this.core.jobs.get(ulid) : null;
    if (job?.status !== "processing" || job.attempts !== attempt) return null;
    return job.worker.id === workerId ? job : null;
  }

  private admit(job: ProcessingJob, coming: ReadonlyMap<string, number>, file: ComingFile) {
    const limits = { files: LIMITS.outputFiles, bytes: this.maxBytes };
    return admitUpload(job.live.files ?? NO_FILES, coming, file, limits);
  }

  private forgetEnded(): void {
    const running = new Set(
      this.core.jobs.runningJobs().map(({ ulid, attempts: attempt }) => keyOf({ ulid, attempt })),
    );
    for (const key of this.coming.keys()) if (!running.has(key)) this.coming.delete(key);
  }
}

function keyOf({ ulid, attempt }: Pick<UploadTarget, "ulid" | "attempt">): string {
  return `${ulid}#${attempt}`;
}

function asUploaded({ name, content_type, size, sha256 }: OutputFile): UploadedFile {
  return { name, content_type, size, sha256 };
}

function refusalOf({ code, message }: { code: Refusal["code"]; message: string }): Refusal {
  return { ok: false, code, detail: message };
}
