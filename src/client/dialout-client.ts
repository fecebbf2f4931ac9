import { Edge, type EdgeOptions } from "./edge.ts";
import { Gateway } from "./gateway.ts";
import { JobHandle, type JobOptions } from "./job-handle.ts";
import { type CreateJobOptions, createJob, JobReporter } from "./job-reporter.ts";
import { listSpaces, type PageOptions, type SpacesPage } from "./listing.ts";
import { RoomHandle } from "./room-handle.ts";
import type { SendOptions } from "./sending.ts";
import { SpaceHandle } from "./space-handle.ts";
import { SpaceSocketPool } from "./space-socket-pool.ts";

export type ClientOptions = EdgeOptions;

/** The entry point of the client library: gives access to an edge's spaces, jobs and rooms. */
export class DialoutClient {
  readonly #edge: Edge;
  readonly #gateway: Gateway;
  readonly #sockets: SpaceSocketPool;

  constructor(options: ClientOptions = {}) {
    this.#edge = new Edge(options);
    this.#gateway = new Gateway(this.#edge);
    this.#sockets = new SpaceSocketPool(this.#edge);
  }

  /** A page of the spaces that may be seen with this client's token. */
  spaces(options: PageOptions = {}): Promise<SpacesPage> {
    return listSpaces(this.#edge, options);
  }

  space(name: string): SpaceHandle {
    return new SpaceHandle(this.#edge, this.#sockets, name);
  }

  /** It is followed over the socket of its space if that is in use, otherwise over one of its own. */
  job(id: string, options?: JobOptions): JobHandle {
    return new JobHandle(this.#edge, id, { sockets: this.#sockets, when: "in use" }, options);
  }

  /** Creates a job without a space; the caller does the work and reports its progress. */
  createJob(options: CreateJobOptions = {}, send: SendOptions = {}): Promise<JobReporter> {
    return createJob(this.#edge, options, send);
  }

  /** Continues reporting a job that was created earlier. */
  reporter(id: string): JobReporter {
    return new JobReporter(this.#edge, id);
  }

  room(name: string): RoomHandle {
    return new RoomHandle(this.#edge, this.#gateway, name);
  }

  /** Closes every subscription and iterator, and ends every call with `connection_closed`. The client can be used again afterwards. */
  close(): void {
    this.#edge.close();
  }
}
