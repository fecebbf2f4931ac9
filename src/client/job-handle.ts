import type { Json } from "../protocol/codec.ts";
import type { OutputFile } from "../protocol/output-files.ts";
import type { Connection } from "./connection.ts";
import type { Edge } from "./edge.ts";
import { segment } from "./edge.ts";
import { DialoutError, JobFailed } from "./errors.ts";
import { EventStream } from "./event-stream.ts";
import {
  isEnd,
  type JobEvent,
  type JobFile,
  type JobGap,
  type JobOutput,
  type JobProgress,
  type JobRestart,
} from "./job-channel.ts";
import { followJob, type JobToFollow, shareHeaders } from "./job-follower.ts";
import { type AnyJob, jobSchema } from "./job-resource.ts";
import { withAddresses } from "./output-files.ts";
import type { SendOptions } from "./sending.ts";
import { type SpaceSocketPool, spaceOf } from "./space-socket-pool.ts";
import type { LinkHandlers, Subscription } from "./subscription.ts";

export interface FollowOptions {
  /** The `position` of the last event received. Without it, following starts with the current state. */
  since?: string;
  signal?: AbortSignal;
  /** Called when the state of the connection changes, and when another dial has failed. */
  onConnection?(connection: Connection): void;
}

export interface JobHandlers extends LinkHandlers, FollowOptions {
  onProgress?(progress: JobProgress): void;
  onOutput?(output: JobOutput): void;
  /** A file that is output, or a preview. The last progress has all `outputs` again. */
  onFile?(file: JobFile): void;
  /** Another attempt begins: drop the output received so far. */
  onRestart?(restart: JobRestart): void;
  /** Some output is lost: drop the output received so far; the output still available follows. */
  onGap?(gap: JobGap): void;
  /** The last event; `onProgress` is called with it first. */
  onEnd?(end: JobProgress): void;
}

export interface OutputOptions extends Omit<FollowOptions, "since"> {
  /** Drop the text received so far. Without this handler the iterator fails with `output_restarted`. */
  onReset?(reason: JobRestart | JobGap): void;
}

export interface JobOptions {
  /** The token of a link to the job: whoever has it may see the job, whosever it is. */
  share?: string;
}

/** When a job is followed over its space's socket: always, or only if the client uses that anyway. */
export interface SocketSharing {
  sockets: SpaceSocketPool;
  when: "always" | "in use";
}

/** Refers to a job by its id; sends nothing until a method is called. */
export class JobHandle {
  readonly id: string;
  readonly #edge: Edge;
  readonly #sharing: SocketSharing | null;
  readonly #share: string | null;

  /** @param sharing `null`: the job is followed over a socket of its own, as is one that a link opens */
  constructor(edge: Edge, id: string, sharing: SocketSharing | null, { share }: JobOptions = {}) {
    this.#edge = edge;
    this.id = id;
    this.#share = share ?? null;
    this.#sharing = this.#share === null ? sharing : null;
  }

  async get(options: SendOptions = {}): Promise<AnyJob> {
    const headers = shareHeaders(this.#share);
    const job = await this.#edge.http.call({ ...options, headers, path: this.#path }, jobSchema);
    return withAddresses(job, this.#edge);
  }

  /**
   * The files that are output so far, with addresses that need no headers and hold for an hour: call it again for
   * others.
   */
  async outputs(options: SendOptions = {}): Promise<OutputFile[]> {
    return (await this.get(options)).outputs;
  }

  /** A running job stays `processing` until its worker has stopped. */
  async cancel(options: SendOptions = {}): Promise<AnyJob> {
    const path = `${this.#path}/cancel`;
    const call = { ...options, method: "POST", path, retry: "safe" } as const;
    return withAddresses(await this.#edge.http.call(call, jobSchema), this.#edge);
  }

  /** Calls the handlers for the job's events until it ends. */
  follow(handlers: JobHandlers): Subscription {
    const { since, signal } = handlers;
    return followJob(this.#toFollow({ since, signal }), {
      onLink: (state, error) => handlers.onLink?.(state, error),
      onConnection: (connection) => handlers.onConnection?.(connection),
      onError: (error) => handlers.onError?.(error),
      onEvent: (event) => dispatch(handlers, event),
    });
  }

  /** The job's events; the iterator ends with the job. */
  events({ since, signal, onConnection }: FollowOptions = {}): EventStream<JobEvent> {
    return new EventStream((stream) => {
      const onEvent = (event: JobEvent) => stream.push(event);
      const subscription = followJob(this.#toFollow({ since }), { onEvent, onConnection });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, signal);
  }

  /** The text pieces that the job streams; pieces that aren't text are skipped. */
  async *output({
    onReset,
    ...options
  }: OutputOptions = {}): AsyncGenerator<string, void, undefined> {
    let told = false;
    for await (const event of this.events(options)) {
      if (event.type === "output" && typeof event.delta === "string") {
        told = true;
        yield event.delta;
      } else if (told && (event.type === "restart" || event.type === "gap")) {
        if (!onReset) throw new DialoutError("output_restarted", "The output began again.");
        told = false;
        onReset(event);
      }
    }
  }

  /**
   * Waits for the job's end and returns its result.
   *
   * @throws {JobFailed} if the job failed or was canceled
   */
  async result(options: Omit<FollowOptions, "since"> = {}): Promise<Json> {
    for await (const event of this.events(options)) {
      if (!isEnd(event)) continue;
      if (event.status === "completed") return event.result ?? null;
      throw new JobFailed(this.id, event.error ?? null);
    }
    throw new DialoutError("connection_closed", "The client was closed before the job ended.");
  }

  #toFollow(options: Pick<FollowOptions, "since" | "signal">): JobToFollow {
    const { sockets = null, when = "always" } = this.#sharing ?? {};
    const isShared = spaceOf(this.id) !== null && (when === "always" || sockets?.isInUse(this.id));
    const over = { sockets: isShared ? sockets : null, share: this.#share };
    return { edge: this.#edge, id: this.id, ...over, ...options };
  }

  get #path(): string {
    return `/api/jobs/${segment(this.id)}`;
  }
}

function dispatch(handlers: JobHandlers, event: JobEvent): void {
  switch (event.type) {
    case "output":
      handlers.onOutput?.(event);
      return;
    case "file":
      handlers.onFile?.(event);
      return;
    case "restart":
      handlers.onRestart?.(event);
      return;
    case "gap":
      handlers.onGap?.(event);
      return;
    case "progress":
      handlers.onProgress?.(event);
      if (isEnd(event)) handlers.onEnd?.(event);
  }
}
