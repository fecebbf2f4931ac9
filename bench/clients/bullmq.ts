import { Queue, QueueEvents } from "bullmq";
import { INPUT, type Submitter } from "./submitter.ts";

export const QUEUE = "bench";

export function redisAt(port: number) {
  return { connection: { host: "127.0.0.1", port, maxRetriesPerRequest: null } };
}

/** Adds jobs to a BullMQ queue and waits for each with `waitUntilFinished`, as documented. */
export class BullSubmitter implements Submitter {
  private readonly queue: Queue;
  private readonly events: QueueEvents;

  constructor(port: number) {
    this.queue = new Queue(QUEUE, redisAt(port));
    // Every waiting job adds a listener to this one object: Node would warn of a leak.
    this.events = new QueueEvents(QUEUE, redisAt(port)).setMaxListeners(0);
  }

  async submit(): Promise<void> {
    await this.events.waitUntilReady();
    const job = await this.queue.add("echo", INPUT);
    await job.waitUntilFinished(this.events);
  }
}
