import { lstat, mkdir, readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { LIMITS } from "../../src/protocol/limits.ts";
import { JobFailure } from "../failure.ts";
import { checkOutputName } from "../file-upload.ts";
import type { Job } from "../job.ts";

/** The environment variable that names a program's directory for output files. */
export const OUTPUT_DIRECTORY = "DIALOUT_OUTPUT_DIR";

/**
 * The directory in which a program leaves files that are its output. They are sent when the program has ended, or
 * earlier if it says so. Only files that lie directly in it count: links are not followed.
 */
export class OutputDirectory {
  readonly path: string;
  private readonly job: Pick<Job, "file">;
  /** Those that were sent, or are on their way. */
  private readonly sent = new Set<string>();
  private previews = 0;
  /** One file after the other: a program may tell of many at once. */
  private last: Promise<void> = Promise.resolve();

  private constructor(path: string, job: Pick<Job, "file">) {
    this.path = path;
    this.job = job;
  }

  /** Makes an empty directory at `path`. */
  static async make(path: string, job: Pick<Job, "file">): Promise<OutputDirectory> {
    await mkdir(path, { mode: 0o700 });
    return new OutputDirectory(path, job);
  }

  /**
   * Sends a file that the program has finished.
   *
   * @throws {JobFailure} if there is no such file, or the edge refuses it
   */
  send(name: string, preview = false): Promise<void> {
    const sending = this.last.then(() => this.sendNow(name, preview));
    // Whoever sends the next one needn't know that this one failed.
    this.last = sending.catch(() => undefined);
    return sending;
  }

  /** Sends what the program has left and not sent before, in the order of the names. */
  async sendRest(): Promise<void> {
    await this.last;
    const entries = await readdir(this.path, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    const rest = names.filter((name) => !this.sent.has(name)).sort();
    if (rest.length > LIMITS.outputFiles) {
      const text = `The program left ${rest.length} files in ${OUTPUT_DIRECTORY}; a job may have ${LIMITS.outputFiles}.`;
      throw new JobFailure("worker_error", text);
    }
    for (const name of rest) await this.sendNow(name, false);
  }

  private async sendNow(name: string, preview: boolean): Promise<void> {
    checkOutputName(name);
    const path = join(this.path, name);
    if (!(await isFile(path))) {
      const text = `The program told of the file ${JSON.stringify(name)}, and there is none of that name in ${OUTPUT_DIRECTORY}.`;
      throw new JobFailure("worker_error", text);
    }
    this.sent.add(name);
    await this.job.file(preview ? this.previewName(name) : name, { path }, { preview });
  }

  /** Programs write every preview to the same file, and each file of an attempt needs a name of its own. */
  private previewName(name: string): string {
    this.previews += 1;
    const extension = extname(name);
    const stem = name.slice(0, name.length - extension.length).slice(0, 100);
    return `${stem}-${this.previews}${extension}`;
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile();
  } catch {
    return false;
  }
}
