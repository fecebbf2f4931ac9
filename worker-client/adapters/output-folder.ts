import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { LIMITS } from "../../src/protocol/limits.ts";
import { outputName } from "../../src/protocol/output-files.ts";
import { JobFailure } from "../failure.ts";
import type { Job } from "../job.ts";
import type { Log } from "../log.ts";
import { typeByName } from "./content-types.ts";
import { PreviewSender } from "./preview-sender.ts";

/** Sends the files that a program puts into its job's output folder, in the order in which it names them. */
export class OutputFolder {
  readonly #job: Job;
  readonly #directory: string;
  readonly #previews: PreviewSender;
  readonly #sent = new Set<string>();
  #sending: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(job: Job, directory: string, log: Log) {
    this.#job = job;
    this.#directory = directory;
    this.#previews = new PreviewSender(job, log);
  }

  /** Sends a file once those before it are sent; `finish` throws if that fails. */
  send(name: string): void {
    if (this.#sent.has(name)) return;
    this.#sent.add(name);
    this.#sending = this.#sending
      .then(() => (this.#failure === null ? this.#upload(name) : undefined))
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
  }

  /** Sends a picture of how far the job is; the program may write to the same file again and again. */
  async preview(name: string): Promise<void> {
    this.#sent.add(name);
    if (!(await this.#isFile(name))) return;
    const bytes = await readFile(join(this.#directory, name)).catch(() => null);
    const type = typeByName(name) ?? "application/octet-stream";
    if (bytes !== null && !this.#job.signal.aborted) this.#previews.offer(bytes, type);
  }

  /**
   * Waits until everything is sent.
   *
   * @param names the files that the program says are its result; if it doesn't say, all that are in the folder but
   *   those that were previews
   * @throws what went wrong with the first file that could not be sent
   */
  async finish(names?: readonly string[]): Promise<void> {
    for (const name of names ?? (await this.#found())) {
      if (names !== undefined) this.#sent.delete(name);
      this.send(name);
    }
    await this.#sending;
    await this.#previews.finish();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Files whose names begin with a dot stay here: programs use them for what is not finished. */
  async #found(): Promise<string[]> {
    const entries = await readdir(this.#directory, { withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith("."));
    if (files.length > LIMITS.outputFiles) {
      throw new JobFailure(
        "worker_error",
        `The program left ${files.length} files in its output folder; a job can have ${LIMITS.outputFiles}.`,
      );
    }
    return files.map(({ name }) => name).sort();
  }

  async #upload(name: string): Promise<void> {
    if (!(await this.#isFile(name))) {
      throw new JobFailure(
        "worker_error",
        `The program named the output file ${JSON.stringify(name.slice(0, 200))}, which is not in its output folder.`,
      );
    }
    const path = join(this.#directory, name);
    await this.#job.file(name, { path }, { contentType: typeByName(name) });
  }

  /** A link is none: it could lead to any file of this machine. */
  async #isFile(name: string): Promise<boolean> {
    if (!outputName.safeParse(name).success) return false;
    const stats = await lstat(join(this.#directory, name)).catch(() => null);
    return stats?.isFile() ?? false;
  }
}
