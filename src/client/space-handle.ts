import { z } from "zod";
import { byteLength, type JsonObject } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  idempotencyKey as idempotencyKeySchema,
  jobResource,
  problem,
  type SpaceResource,
  type SpaceStatus,
  spaceResource,
} from "../protocol/resources.ts";
import { isRefusal } from "./answer.ts";
import type { Connection } from "./connection.ts";
import { type Edge, segment } from "./edge.ts";
import { DialoutError } from "./errors.ts";
import { EventStream } from "./event-stream.ts";
import { type UploadedFile, type UploadOptions, uploadFile } from "./file-upload.ts";
import { freshId } from "./fresh-id.ts";
import { JobHandle, type JobOptions } from "./job-handle.ts";
import { encodeJson } from "./json-body.ts";
import { type JobsOptions, type JobsPage, listJobs } from "./listing.ts";
import type { SendOptions } from "./sending.ts";
import type { SpaceSocketPool } from "./space-socket-pool.ts";
import { type SpaceStatusHandlers, watchSpace } from "./space-watcher.ts";
import {
  areLarge,
  type FileOfField,
  formOf,
  listFiles,
  type SubmitOptions,
  type SubmitSettings,
} from "./submit-form.ts";
import type { LinkHandlers, Subscription } from "./subscription.ts";

export interface SpaceHandlers extends LinkHandlers {
  /** The current status, then every change. */
  onStatus?(status: SpaceStatus): void;
  signal?: AbortSignal;
}

export interface StatusOptions {
  signal?: AbortSignal;
  /** Called when the state of the connection changes, and when another dial has failed. */
  onConnection?(connection: Connection): void;
}

/** One of several jobs to submit. A random idempotency key is used if none is given. */
export type JobToSubmit = { input: JsonObject; idempotencyKey?: string } & SubmitSettings;

/** The outcome of one of several submits. */
export type Submitted = { ok: true; job: JobHandle } | { ok: false; error: DialoutError };

/** Only the id is needed, and of a job that doesn't fit the answer there is little more (H13c). */
const batchAnswer = z.object({
  jobs: z.array(
    z.union([z.object({ job: z.object({ id: z.string() }) }), z.object({ error: problem })]),
  ),
});

/**
 * Refers to a space by its name; sends nothing until a method is called. What is followed through it, the space's status
 * and any number of its jobs, shares one socket.
 */
export class SpaceHandle {
  readonly name: string;
  readonly #edge: Edge;
  readonly #sockets: SpaceSocketPool;
  /** The ids of uploads, by their files, until a job has them. */
  readonly #uploaded = new WeakMap<Blob, string>();

  constructor(edge: Edge, sockets: SpaceSocketPool, name: string) {
    this.#edge = edge;
    this.#sockets = sockets;
    this.name = name;
  }

  /** A job of this space, by its id. */
  job(id: string, options?: JobOptions): JobHandle {
    return new JobHandle(this.#edge, id, { sockets: this.#sockets, when: "always" }, options);
  }

  /** The space's settings and status. */
  async get(options: SendOptions = {}): Promise<SpaceResource> {
    return this.#edge.http.call({ ...options, path: this.#path }, spaceResource);
  }

  async status(options: SendOptions = {}): Promise<SpaceStatus> {
    return (await this.get(options)).status;
  }

  /**
   * A page of the space's jobs, newest first: one's own, or all of them for those who manage the space.
   *
   * @throws {DialoutError} `not_authenticated` without a token
   */
  jobs(options: JobsOptions = {}): Promise<JobsPage> {
    return listJobs(this.#edge, `${this.#path}/jobs`, options);
  }

  /** Calls the handlers with the space's status, now and on every change. */
  watch(handlers: SpaceHandlers): Subscription {
    const passed: SpaceStatusHandlers = {
      onStatus: (status) => handlers.onStatus?.(status),
      onLink: (state, error) => handlers.onLink?.(state, error),
      onConnection: (connection) => handlers.onConnection?.(connection),
      onError: (error) => handlers.onError?.(error),
    };
    return watchSpace(this.#shared, this.name, passed, handlers.signal);
  }

  /** The current status, then every change. */
  statuses({ signal, onConnection }: StatusOptions = {}): EventStream<SpaceStatus> {
    return new EventStream((stream) => {
      const onStatus = (status: SpaceStatus) => stream.push(status);
      const subscription = watchSpace(this.#shared, this.name, { onStatus, onConnection });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, signal);
  }

  /**
   * Submits a job, which is stored once the promise resolves. Without an answer the submit is sent again; its
   * idempotency key (random if none is given) keeps it from creating a second job.
   *
   * @throws {DialoutError} if the space refuses the job, for example with `worker_not_connected`. If no answer
   *   came in time, the error has the `idempotencyKey` to go on with.
   */
  async submit(input: JsonObject, options: SubmitOptions = {}): Promise<JobHandle> {
    const { files, idempotencyKey = freshId(), signal, timeout, onSending, ...settings } = options;
    checkInput(input);
    const headers = { "idempotency-key": checkedKey(idempotencyKey) };
    const path = `${this.#path}/jobs`;
    const send = { signal, timeout, onSending };
    const given = files === undefined ? [] : listFiles(files);
    const body = areLarge(given)
      ? { input, ...settings, files: await this.#uploadAll(given, send) }
      : given.length > 0
        ? formOf(input, given, settings)
        : { input, ...settings };
    const job = await this.#edge.http
      .call({ ...send, method: "POST", path, body, headers, retry: "safe" }, jobResource)
      .catch((error) => {
        if (!(error instanceof DialoutError)) throw error;
        if (error.code === "upload_used") this.#forget(given);
        throw withKey(error, idempotencyKey);
      });
    this.#forget(given);
    return this.job(job.id);
  }

  /**
   * Uploads a file of up to 5 GB, and goes on after breaks. A job gets it with `submit(input, {files: {image: uploaded}})`,
   * once; what no job gets within a day is removed.
   *
   * @throws {DialoutError} if the space refuses it, or nothing more of it arrives for 2 minutes, or for `timeout`
   *   milliseconds
   */
  upload(file: Blob, options: UploadOptions = {}): Promise<UploadedFile> {
    return uploadFile(this.#edge, this.name, file, options);
  }

  /** Submits up to 1,000 jobs at once. Returns one outcome per job, in the same order. */
  async submitMany(
    jobs: readonly JobToSubmit[],
    { signal, timeout, onSending }: SendOptions = {},
  ): Promise<Submitted[]> {
    const bodies = jobs.map(({ idempotencyKey = freshId(), ...job }) => {
      return { ...job, idempotency_key: idempotencyKey };
    });
    checkBatch(bodies);
    const path = `${this.#path}/jobs/batch`;
    const answer = await this.#edge.http.call(
      {
        method: "POST",
        path,
        body: { jobs: bodies },
        retry: "safe",
        ...{ signal, timeout, onSending },
      },
      batchAnswer,
    );
    return answer.jobs.map((answered) => {
      if ("job" in answered) return { ok: true, job: this.job(answered.job.id) };
      const { code, title, detail, ...details } = answered.error;
      return { ok: false, error: new DialoutError(code, detail || title, details) };
    });
  }

  /** A file that was uploaded for a submit which then was refused is not sent again for the next one. */
  async #uploadAll(files: readonly FileOfField[], options: SendOptions) {
    const uploads: { field: string; upload: string }[] = [];
    for (const { field, file } of files) {
      if (!(file instanceof Blob)) {
        uploads.push({ field, upload: file.upload });
        continue;
      }
      const resume = this.#uploaded.get(file);
      const { upload } = await this.upload(file, {
        ...options,
        field,
        ...(resume === undefined ? {} : { resume }),
        onProgress: ({ upload }) => this.#uploaded.set(file, upload),
      });
      uploads.push({ field, upload });
    }
    return uploads;
  }

  #forget(files: readonly FileOfField[]): void {
    for (const { file } of files) if (file instanceof Blob) this.#uploaded.delete(file);
  }

  get #shared(): { edge: Edge; sockets: SpaceSocketPool } {
    return { edge: this.#edge, sockets: this.#sockets };
  }

  get #path(): string {
    return `/api/spaces/${segment(this.name)}`;
  }
}

/** Refuses what the edge would refuse too, because it closes the connection on a body that is far too large. */
function checkInput(input: JsonObject): void {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new DialoutError("invalid_request", "The input of a job must be an object.");
  }
  const bytes = byteLength(encodeJson(input));
  if (bytes <= LIMITS.inputBytes) return;
  const message = `The input has ${bytes} bytes as JSON; ${LIMITS.inputBytes} are allowed. Send large data as a file.`;
  throw new DialoutError("payload_too_large", message);
}

function checkBatch(jobs: readonly object[]): void {
  if (jobs.length === 0 || jobs.length > LIMITS.batchJobs) {
    const message = `A batch has 1 to ${LIMITS.batchJobs} jobs, not ${jobs.length}.`;
    throw new DialoutError("invalid_request", message);
  }
  const bytes = byteLength(encodeJson({ jobs }));
  if (bytes <= LIMITS.batchBodyBytes) return;
  const message = `The jobs have ${bytes} bytes as JSON; ${LIMITS.batchBodyBytes} are allowed in a batch.`;
  throw new DialoutError("payload_too_large", message);
}

function checkedKey(key: string): string {
  const read = idempotencyKeySchema.safeParse(key);
  if (read.success) return read.data;
  const message = "An idempotency key is 1 to 255 printable ASCII characters.";
  throw new DialoutError("invalid_request", message);
}

/** The edge's own refusals are certain: then there is no job. */
function withKey(error: DialoutError, idempotencyKey: string): DialoutError {
  if (isRefusal(error) && error.status !== null && error.status < 500) return error;
  const { code, message, status, retryAfterMs, errors, cause } = error;
  return new DialoutError(code, message, { status, retryAfterMs, errors, cause, idempotencyKey });
}
