import type { Json } from "../../src/protocol/codec.ts";
import type { FileOptions, OutputFile } from "../file-upload.ts";
import type { Job } from "../job.ts";
import { WorkerCore } from "../worker.ts";
import type { RemoteWorkerOptions } from "../worker-options.ts";
import type { PageFile } from "./page-file.ts";
import { pagePlatform } from "./page-platform.ts";
import { PageTimers } from "./page-timers.ts";

/** One attempt of a job, as it is passed to the handler in a page. */
export interface PageJob extends Omit<Job, "files" | "file"> {
  readonly files: readonly PageFile[];
  /** As `Job.file` in Node.js: sends a file that is output, and tells everyone who follows the job. */
  file(name: string, content: Uint8Array | Blob, options?: FileOptions): Promise<OutputFile>;
}

export type PageJobHandler = (job: PageJob) => Promise<Json | undefined>;

export interface PageWorkerOptions extends Omit<RemoteWorkerOptions, "handler"> {
  handler: PageJobHandler;
}

/** Events after which the connection may be dead although nobody has closed it. */
const WAKING = ["online", "offline", "pageshow"] as const;

/**
 * A worker in a page. It looks after its connection when the tab was frozen, the machine slept or the network changed.
 * Give it `workerId: await tabWorkerId(space)`, so that it stays the same worker when the tab is reloaded.
 */
export class RemoteWorker extends WorkerCore {
  readonly #timers: PageTimers;

  /** @throws {InvalidOptions} */
  constructor(options: PageWorkerOptions) {
    const timers = new PageTimers();
    super(options, pagePlatform(timers));
    this.#timers = timers;
    timers.onWake = () => this.wakeUp();
    for (const event of WAKING) globalThis.addEventListener?.(event, this.#onWaking);
    globalThis.document?.addEventListener("visibilitychange", this.#onVisible);
    globalThis.document?.addEventListener("resume", this.#onWaking);
  }

  readonly #onWaking = (): void => this.wakeUp();

  readonly #onVisible = (): void => {
    if (globalThis.document?.visibilityState === "visible") this.wakeUp();
  };

  override async run(): Promise<void> {
    try {
      await super.run();
    } finally {
      this.#timers.stop();
      for (const event of WAKING) globalThis.removeEventListener?.(event, this.#onWaking);
      globalThis.document?.removeEventListener("visibilitychange", this.#onVisible);
      globalThis.document?.removeEventListener("resume", this.#onWaking);
    }
  }
}
