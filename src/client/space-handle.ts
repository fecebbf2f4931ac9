import { z } from "zod";
import type { JsonObject } from "../protocol/codec.ts";
import {
  jobResource,
  problem,
  type SpaceResource,
  type SpaceStatus,
  spaceResource,
} from "../protocol/resources.ts";
import { type Edge, segment } from "./edge.ts";
import { DialoutError } from "./errors.ts";
import { EventStream } from "./event-stream.ts";
import { freshId } from "./fresh-id.ts";
import { JobHandle } from "./job-handle.ts";
import { watchSpace } from "./space-watcher.ts";
import { formOf, type SubmitOptions, type SubmitSettings } from "./submit-form.ts";
import { closeOn, type LinkHandlers, type Subscription } from "./subscription.ts";

export interface SpaceHandlers extends LinkHandlers {
  /** The current status, then every change. */
  onStatus?(status: SpaceStatus): void;
  signal?: AbortSignal;
}

/** One of several jobs to submit. A random idempotency key is used if none is given. */
export type JobToSubmit = { input: JsonObject; idempotencyKey?: string } & SubmitSettings;

/** The outcome of one of several submits. */
export type Submitted = { ok: true; job: JobHandle } | { ok: false; error: DialoutError };

const batchAnswer = z.object({
  jobs: z.array(z.union([z.object({ job: jobResource }), z.object({ error: problem })])),
});

/** Refers to a space by its name; sends nothing until a method is called. */
export class SpaceHandle {
  readonly name: string;
  readonly #edge: Edge;

  constructor(edge: Edge, name: string) {
    this.#edge = edge;
    this.name = name;
  }

  /** The space's settings and status. */
  get(options: { signal?: AbortSignal } = {}): Promise<SpaceResource> {
    return this.#edge.http.call({ path: this.#path, ...options }, spaceResource);
  }

  async status(options: { signal?: AbortSignal } = {}): Promise<SpaceStatus> {
    return (await this.get(options)).status;
  }

  /** Calls the handlers with the space's status, now and on every change. */
  watch(handlers: SpaceHandlers): Subscription {
    const subscription = watchSpace(this.#edge, this.name, {
      onStatus: (status) => handlers.onStatus?.(status),
      onLink: (state, error) => handlers.onLink?.(state, error),
      onError: (error) => handlers.onError?.(error),
    });
    closeOn(handlers.signal, subscription);
    return subscription;
  }

  /** The current status, then every change. */
  statuses({ signal }: { signal?: AbortSignal } = {}): EventStream<SpaceStatus> {
    return new EventStream((stream) => {
      const onStatus = (status: SpaceStatus) => stream.push(status);
      const subscription = watchSpace(this.#edge, this.name, { onStatus });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, signal);
  }

  /**
   * Submits a job, which is stored once the promise resolves. After a broken connection the submit is
   * sent again; its idempotency key (random if none is given) keeps it from creating a second job.
   *
   * @throws {DialoutError} if the space refuses the job, for example with `worker_not_connected`
   */
  async submit(input: JsonObject, options: SubmitOptions = {}): Promise<JobHandle> {
    const { files, signal, idempotencyKey = freshId(), ...settings } = options;
    const body = files ? formOf(input, files, settings) : { input, ...settings };
    const headers = { "idempotency-key": idempotencyKey };
    const path = `${this.#path}/jobs`;
    const job = await this.#edge.http.call(
      { method: "POST", path, body, headers, signal, retry: "safe" },
      jobResource,
    );
    return new JobHandle(this.#edge, job.id);
  }

  /** Submits up to 1,000 jobs at once. Returns one outcome per job, in the same order. */
  async submitMany(
    jobs: readonly JobToSubmit[],
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Submitted[]> {
    const bodies = jobs.map(({ idempotencyKey = freshId(), ...job }) => {
      return { ...job, idempotency_key: idempotencyKey };
    });
    const path = `${this.#path}/jobs/batch`;
    const answer = await this.#edge.http.call(
      { method: "POST", path, body: { jobs: bodies }, signal, retry: "safe" },
      batchAnswer,
    );
    return answer.jobs.map((answered) => {
      if ("job" in answered) return { ok: true, job: new JobHandle(this.#edge, answered.job.id) };
      const { code, title, detail, ...details } = answered.error;
      return { ok: false, error: new DialoutError(code, detail || title, details) };
    });
  }

  get #path(): string {
    return `/api/spaces/${segment(this.name)}`;
  }
}
