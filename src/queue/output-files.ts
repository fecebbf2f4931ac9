import type { EndedJob, Job, LogEvent, OutputEvent } from "./job.ts";
import { currentOutput } from "./job.ts";

/** A file that an attempt has sent. `folder` and `id` make its key in the bucket, and are never sent to anybody. */
export interface OutputFile {
  folder: string;
  id: string;
  name: string;
  /** As its bytes show it. */
  content_type: string;
  size: number;
  /** In hexadecimal digits. */
  sha256: string;
}

/** The files of a running attempt. */
export interface AttemptFiles {
  /** All that are in the bucket. */
  stored: readonly OutputFile[];
  /** The ids of those that are the job's outputs, in the order in which the worker told of them. */
  told: readonly string[];
  /** The id of the newest preview. */
  preview: string | null;
}

export type FileEvent = Extract<LogEvent, { kind: "file" }>;

export const NO_FILES: AttemptFiles = { stored: [], told: [], preview: null };

/** The job's outputs: those of a running attempt as far as it has told of them, those of an ended job for good. */
export function outputsOf(job: Job): readonly OutputFile[] {
  if (job.status === "queued") return [];
  if (job.status !== "processing") return job.outputs ?? [];
  const { stored, told } = job.live.files ?? NO_FILES;
  return told.flatMap((id) => stored.find((file) => file.id === id) ?? []);
}

/** Every file in the bucket that belongs to the job. */
export function filesOf(job: Job | null): readonly OutputFile[] {
  if (job === null || job.status === "queued") return [];
  return job.status === "processing" ? (job.live.files?.stored ?? []) : (job.outputs ?? []);
}

/** The outputs that an attempt leaves to the job that it ends; none if it has none, which most jobs don't. */
export function keptOutputs(job: Job): Pick<EndedJob, "outputs"> {
  const outputs = outputsOf(job);
  return outputs.length === 0 ? {} : { outputs };
}

/** Adds a file that is in the bucket now. */
export function withStored(files: AttemptFiles, file: OutputFile): AttemptFiles {
  return { ...files, stored: [...files.stored, file] };
}

/** Makes a file one of the outputs. @returns `null` if the attempt has no file of that name */
export function withTold(
  files: AttemptFiles,
  name: string,
): { files: AttemptFiles; file: OutputFile } | null {
  const file = files.stored.find((stored) => stored.name === name);
  if (file === undefined) return null;
  const told = files.told.includes(file.id) ? files.told : [...files.told, file.id];
  const preview = files.preview === file.id ? null : files.preview;
  return { files: { ...files, told, preview }, file };
}

/** Makes a file the preview; the one before is given up, unless it is an output. @returns as `withTold` */
export function withPreview(
  files: AttemptFiles,
  name: string,
): { files: AttemptFiles; file: OutputFile } | null {
  const file = files.stored.find((stored) => stored.name === name);
  if (file === undefined) return null;
  const stored = files.stored.filter(({ id }) => {
    return id !== files.preview || id === file.id || files.told.includes(id);
  });
  return { files: { ...files, stored, preview: file.id }, file };
}

/** Whether one more file may come: `stored` if it is there already. */
export type UploadAdmission =
  | { ok: true; stored?: OutputFile }
  | { ok: false; code: "name_taken" | "limit_reached" | "payload_too_large"; message: string };

/** What an attempt may send. */
export interface UploadLimits {
  files: number;
  /** Together. */
  bytes: number;
}

/**
 * Decides whether an attempt may send a file.
 *
 * @param under the sizes of other files that are on their way, by name
 * @param sha256 `null` if it isn't known yet
 */
export function admitUpload(
  files: AttemptFiles,
  under: ReadonlyMap<string, number>,
  { name, size, sha256 }: { name: string; size: number; sha256: string | null },
  limits: UploadLimits,
): UploadAdmission {
  const taken = files.stored.find((stored) => stored.name === name);
  if (taken !== undefined && taken.sha256 === sha256) return { ok: true, stored: taken };
  // Without its checksum only the bytes themselves show whether it is the same.
  if (taken !== undefined && (sha256 !== null || taken.size !== size)) {
    const message = `The attempt has another file named ${JSON.stringify(name)}: take another name.`;
    return { ok: false, code: "name_taken", message };
  }
  const sizes = new Map([
    ...under,
    ...files.stored.map((stored) => [stored.name, stored.size] as const),
  ]);
  sizes.delete(name);
  if (sizes.size >= limits.files) {
    const message = `An attempt may send ${limits.files} files: this one would be one more.`;
    return { ok: false, code: "limit_reached", message };
  }
  const bytes = [...sizes.values()].reduce((sum, other) => sum + other, 0);
  if (bytes + size <= limits.bytes) return { ok: true };
  const left = Math.max(0, limits.bytes - bytes);
  const message = `The file has ${size} bytes, and of the ${limits.bytes} that an attempt may send there are ${left} left.`;
  return { ok: false, code: "payload_too_large", message };
}

/** How a batch changed the files of a job. */
export interface FileChanges {
  /** Those to store, of the attempt that runs now. */
  added: readonly OutputFile[];
  /** Those that the job's own row has from now on. */
  kept: readonly OutputFile[];
  /** Those that nobody needs any more. */
  released: readonly OutputFile[];
}

/** Compares a job with what it was before a batch; `null` if it has had no files, as most jobs. */
export function fileChanges(before: Job | null, job: Job): FileChanges | null {
  const had = before?.status === "processing" ? before.live.files?.stored : undefined;
  const has = job.status === "processing" ? job.live.files?.stored : undefined;
  if (had === undefined && has === undefined) return null;
  const known = new Set(had?.map(({ id }) => id));
  const left = new Set(filesOf(job).map(({ id }) => id));
  return {
    added: (has ?? []).filter(({ id }) => !known.has(id)),
    kept: has === undefined ? (had ?? []).filter(({ id }) => left.has(id)) : [],
    released: (had ?? []).filter(({ id }) => !left.has(id)),
  };
}

/**
 * What a snapshot shows of the latest attempt's output: its pieces and files, and of its previews only the newest, as
 * long as it runs.
 */
export function currentPieces(job: Job, log: readonly LogEvent[]): (OutputEvent | FileEvent)[] {
  const files = log.filter((event) => event.kind === "file");
  if (files.length === 0) return currentOutput(job, log);
  const outputs = new Set(outputsOf(job).map(({ id }) => id));
  const preview = job.status === "processing" ? job.live.files?.preview : null;
  const shown = files.findLast((event) => event.preview && event.file.id === preview);
  return log.filter((event): event is OutputEvent | FileEvent => {
    if (event.kind === "output") return event.attempt === job.attempts;
    if (event.kind !== "file" || event.attempt !== job.attempts) return false;
    return event.preview ? event === shown : outputs.has(event.file.id);
  });
}
