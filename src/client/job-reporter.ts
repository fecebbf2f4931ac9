import type { z } from "zod";
import {
  type BackendJobResource,
  backendJobResource,
  type backendReport,
  type createBackendJobBody,
  type ReportReceipt,
  reportReceipt,
} from "../protocol/backend-jobs.ts";
import type { Json } from "../protocol/codec.ts";
import { cutPercent } from "../protocol/percent.ts";
import { type Edge, segment } from "./edge.ts";
import { freshId } from "./fresh-id.ts";
import type { HttpCall } from "./http.ts";
import { JobHandle } from "./job-handle.ts";
import type { SendOptions } from "./sending.ts";

type ReportOf<T extends string> = Omit<Extract<z.input<typeof backendReport>, { type: T }>, "type">;

/** Without an `id` a random one is used. */
export type CreateJobOptions = z.input<typeof createBackendJobBody>;
export type ProgressReport = ReportOf<"progress">;
export type CompleteReport = Omit<ReportOf<"complete">, "result">;

/**
 * Lets a backend report a job without a space. Reports arrive in the order of the calls, even if the
 * caller does not await each of them.
 */
export class JobReporter {
  readonly id: string;
  /** Reads the job's state, events and result, as any other client would. */
  readonly handle: JobHandle;
  readonly #edge: Edge;
  #last: Promise<unknown> = Promise.resolve();

  constructor(edge: Edge, id: string) {
    this.#edge = edge;
    this.id = id;
    this.handle = new JobHandle(edge, id, null);
  }

  /** Fields that are left out keep their value. A number outside 0 to 100 is cut to that range. */
  progress(report: ProgressReport): Promise<ReportReceipt> {
    const { progress } = report;
    const cut = Number.isFinite(progress) ? { progress: cutPercent(progress ?? 0) } : {};
    return this.#report("progress", { ...report, ...cut }, reportReceipt);
  }

  /** Has an id, so that output sent again because no answer arrived appears once. */
  output(delta: Json): Promise<ReportReceipt> {
    return this.#report("output", { delta, id: freshId() }, reportReceipt);
  }

  complete(result: Json = null, more: CompleteReport = {}): Promise<BackendJobResource> {
    return this.#report("complete", { result, ...more }, backendJobResource);
  }

  fail(message: string, code = "worker_error"): Promise<BackendJobResource> {
    return this.#report("fail", { message, code }, backendJobResource);
  }

  #report<T>(what: string, body: object, schema: z.ZodType<T>): Promise<T> {
    // A report that still waits for its turn when the client is closed must not be sent afterwards.
    const signal = this.#edge.closing;
    const send = async () => {
      const path = `/api/jobs/${segment(this.id)}/${what}`;
      return this.#edge.http.call({ method: "POST", path, body, retry: "safe", signal }, schema);
    };
    // A failed report rejects for its caller only; later reports are still sent.
    const answer = this.#last.then(send, send);
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}

/** Creates the job. Repeated with the same id and options, it returns the same job. */
export async function createJob(
  edge: Edge,
  options: CreateJobOptions,
  send: SendOptions,
): Promise<JobReporter> {
  const path = "/api/jobs";
  const body = { ...options, id: options.id ?? freshId() };
  const call: HttpCall = { ...send, method: "POST", path, body, retry: "safe" };
  const job = await edge.http.call(call, backendJobResource);
  return new JobReporter(edge, job.id);
}
