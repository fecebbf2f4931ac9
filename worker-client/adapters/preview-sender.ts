import type { FileContent } from "../file-upload.ts";
import type { Job } from "../job.ts";
import type { Log } from "../log.ts";
import { extensionOf } from "./content-types.ts";

/** How far apart previews are, milliseconds: they show people how far the work is. */
const GAP_MS = 1_000;

/** Sends pictures of how far a job is. Those that come too fast are left out, and none of them fails the job. */
export class PreviewSender {
  readonly #job: Job;
  readonly #log: Log;
  #sending: Promise<void> | null = null;
  #sent = 0;
  #sentAt = Number.NEGATIVE_INFINITY;

  constructor(job: Job, log: Log) {
    this.#job = job;
    this.#log = log;
  }

  offer(content: FileContent, contentType: string): void {
    const now = performance.now();
    if (this.#sending !== null || now - this.#sentAt < GAP_MS) return;
    this.#sent += 1;
    this.#sentAt = now;
    // A name is taken for the whole attempt.
    const name = `preview-${this.#sent}.${extensionOf(contentType)}`;
    this.#sending = this.#job
      .file(name, content, { contentType, preview: true })
      .then(() => {})
      .catch((error: unknown) => {
        if (!this.#job.signal.aborted) this.#log.warn(`job ${this.#job.id}: ${String(error)}`);
      })
      .finally(() => {
        this.#sending = null;
      });
  }

  /** Resolves once nothing is on its way. */
  async finish(): Promise<void> {
    await this.#sending;
  }
}
