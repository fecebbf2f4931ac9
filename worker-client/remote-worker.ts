import { NODE } from "./node-platform.ts";
import { WorkerCore } from "./worker.ts";
import type { RemoteWorkerOptions } from "./worker-options.ts";

/** A worker in Node.js. */
export class RemoteWorker extends WorkerCore {
  /** @throws {InvalidOptions} */
  constructor(options: RemoteWorkerOptions) {
    super(options, NODE);
  }
}
