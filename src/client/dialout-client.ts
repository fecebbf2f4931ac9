import { Edge, type EdgeOptions } from "./edge.ts";
import { Gateway } from "./gateway.ts";
import { JobHandle } from "./job-handle.ts";
import { type CreateJobOptions, createJob, JobReporter } from "./job-reporter.ts";
import { RoomHandle } from "./room-handle.ts";
import { SpaceHandle } from "./space-handle.ts";

export type ClientOptions = EdgeOptions;

/** An edge, for programs and pages: its spaces, jobs and rooms. */
export class DialoutClient {
  readonly #edge: Edge;
  readonly #gateway: Gateway;

  constructor(options: ClientOptions = {}) {
    this.#edge = new Edge(options);
    this.#gateway = new Gateway(this.#edge);
  }

  space(name: string): SpaceHandle {
    return new SpaceHandle(this.#edge, name);
  }

  job(id: string): JobHandle {
    return new JobHandle(this.#edge, id);
  }

  /** Makes a job without a space, which the caller does and reports. */
  createJob(options: CreateJobOptions = {}): Promise<JobReporter> {
    return createJob(this.#edge, options);
  }

  /** A job that was made before, to go on reporting it. */
  reporter(id: string): JobReporter {
    return new JobReporter(this.#edge, id);
  }

  room(name: string): RoomHandle {
    return new RoomHandle(this.#edge, this.#gateway, name);
  }

  /** Ends all that is followed, and every iterator. The client may be used again. */
  close(): void {
    this.#edge.close();
  }
}
