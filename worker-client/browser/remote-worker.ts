import type { Backoff } from "../backoff.ts";
import type { Log } from "../log.ts";
import type { Statistics } from "../statistics.ts";
import { WorkerCore } from "../worker.ts";
import type { WorkerState } from "../worker-state.ts";
import type { PageJobHandler } from "./page-job.ts";
import { pagePlatform } from "./page-platform.ts";
import { PageTimers } from "./page-timers.ts";

/** As in Node.js. */
export interface PageWorkerOptions {
  /** The edge's address, such as `https://dialout.example`. */
  url: string;
  space: string;
  /** A worker token of the space. */
  token: string;
  handler: PageJobHandler;
  /** Jobs to run at once; 1 if not given. */
  concurrency?: number;
  /** The same over all reconnects, and with `tabWorkerId` over reloads; a random one if not given. */
  workerId?: string;
  /** The name that is shown to people, submitters among them. */
  name?: string;
  version?: string;
  capabilities?: string[];
  /** Whether to wait, and dial again and again, while other workers have every place of the space. */
  waitForPlace?: boolean;
  log?: Log;
  /** Called whenever the worker's state has changed. */
  onState?: (state: WorkerState) => void;
  backoff?: Backoff;
}

/** Events after which the connection may be dead although nobody has closed it. */
const WAKING = ["online", "offline", "pageshow"] as const;

/**
 * A worker in a page. It looks after its connection when the tab was frozen, the machine slept or the network changed.
 * Give it `workerId: await tabWorkerId(space)`, so that it stays the same worker when the tab is reloaded.
 */
export class RemoteWorker {
  readonly #timers = new PageTimers();
  readonly #core: WorkerCore;

  /** @throws {InvalidOptions} */
  constructor(options: PageWorkerOptions) {
    this.#core = new WorkerCore(options, pagePlatform(this.#timers));
    this.#timers.onWake = () => this.wakeUp();
    for (const event of WAKING) globalThis.addEventListener?.(event, this.#onWaking);
    globalThis.document?.addEventListener("visibilitychange", this.#onVisible);
    globalThis.document?.addEventListener("resume", this.#onWaking);
  }

  readonly #onWaking = (): void => this.wakeUp();

  readonly #onVisible = (): void => {
    if (globalThis.document?.visibilityState === "visible") this.wakeUp();
  };

  get id(): string {
    return this.#core.id;
  }

  get state(): WorkerState {
    return this.#core.state;
  }

  /** Resolves after a drain or a stop. @throws {WorkerRefused} if the edge refuses this worker for good */
  async run(): Promise<void> {
    try {
      await this.#core.run();
    } finally {
      this.#timers.stop();
      for (const event of WAKING) globalThis.removeEventListener?.(event, this.#onWaking);
      globalThis.document?.removeEventListener("visibilitychange", this.#onVisible);
      globalThis.document?.removeEventListener("resume", this.#onWaking);
    }
  }

  /** Takes no new jobs, finishes the running ones, then ends; after `timeoutMs` milliseconds in any case. */
  drain(reason?: string, timeoutMs?: number): Promise<void> {
    return this.#core.drain(reason, timeoutMs);
  }

  /** Ends now. Running handlers are aborted, and their jobs go back to the queue at once. */
  stop(): void {
    this.#core.stop();
  }

  /** Dials at once if it waits to; otherwise finds out within 5 seconds whether its connection still works. */
  wakeUp(): void {
    this.#core.wakeUp();
  }

  /** Reports how busy this machine is, from 0 to 1 (W33a). */
  reportLoad(load: number): void {
    this.#core.reportLoad(load);
  }

  statistics(): Statistics {
    return this.#core.statistics();
  }
}
