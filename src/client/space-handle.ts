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
  /** The status now, then whenever it changes. */
  onStatus?(status: SpaceStatus): void;
  signal?: AbortSignal;
}

/** One of several jobs to submit; `idempotency_key` is made where none is given. */
export type JobToSubmit = { input: JsonObject; idempotencyKey?: string } & SubmitSettings;

/** What became of one of several submits. */
export type Submitted = { ok: true; job: JobHandle } | { ok: false; error: DialoutError };

const batchAnswer = z.object({
  jobs: z.array(z.union([z.object({ job: jobResource }), z.object({ error: problem })])),
});

/** A space, by its name: nothing is asked or opened before a method is called. */
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

  /** Tells the space's status as it changes. */
  watch(handlers: SpaceHandlers): Subscription {
    const subscription = watchSpace(this.#edge, this.name, {
      onStatus: (status) => handlers.onStatus?.(status),
      onLink: (state, error) => handlers.onLink?.(state, error),
      onError: (error) => handlers.onError?.(error),
    });
    closeOn(handlers.signal, subscription);
    return subscription;
  }

  /** The status now, then whenever it changes. */
  statuses({ signal }: { signal?: AbortSignal } = {}): EventStream<SpaceStatus> {
    return new EventStream((stream) => {
      const onStatus = (status: SpaceStatus) => stream.push(status);
      const subscription = watchSpace(this.#edge, this.name, { onStatus });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, signal);
  }

  /**
   * Submits a job: it is stored once this resolves. After a broken connection it is sent again, and
   * is one job for all that: by its idempotency key, which is made where none is given.
   *
   * @throws {DialoutError} where the space does not take it, such as `worker_not_connected`
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

  /** Submits up to 1,000 jobs at once; one answer for each, in order. */
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
