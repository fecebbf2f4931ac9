import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shortenName } from "../../src/protocol/file-name.ts";
import type { Job } from "../job.ts";
import { OutputDirectory } from "./output-directory.ts";

/** A file of a job on this machine, as a program is told of it. */
export interface SavedFile {
  /** The form field in which the submitter sent it. */
  field: string;
  /** The name that the submitter gave it; never a path. */
  name: string;
  content_type: string;
  /** Bytes. */
  size: number;
  path: string;
}

/** A temporary folder with the files of one attempt. */
export interface JobFolder {
  /** The files that came with the job. */
  files: SavedFile[];
  /** An empty directory for the files that are output. */
  outputs: OutputDirectory;
}

/** Saves a job's files, calls `use`, and removes them again, however `use` ends. */
export async function withJobFolder<T>(
  job: Job,
  use: (folder: JobFolder) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "dialout-"));
  try {
    const files = await saveFiles(job, directory);
    const outputs = await OutputDirectory.make(join(directory, "outputs"), job);
    job.signal.throwIfAborted();
    return await use({ files, outputs });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function saveFiles(job: Job, directory: string): Promise<SavedFile[]> {
  const saved: SavedFile[] = [];
  for (const [index, file] of job.files.entries()) {
    const path = join(directory, `${index}-${safeFileName(file.name)}`);
    await file.save(path);
    const { field, name, contentType, size } = file;
    saved.push({ field, name, content_type: contentType, size, path });
  }
  return saved;
}

/** Turns a name from outside into a plain file name that keeps its extension and has no path. */
export function safeFileName(name: string): string {
  const last = name.toWellFormed().split(/[\\/]/).at(-1) ?? "";
  const plain = last
    .normalize("NFC")
    .replace(/(?!\u200c|\u200d)[^\p{L}\p{M}\p{N}._-]/gu, "_")
    .replace(/^\.+/, "");
  return shortenName(plain, SAVED_NAME_LENGTH) || "file";
}

/** Takes up to three bytes each, of the 255 that a file system allows, which leaves room for the index. */
const SAVED_NAME_LENGTH = 60;
