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
import { type Edge, segment } from "./edge.ts";
import { freshId } from "./fresh-id.ts";
import { JobHandle } from "./job-handle.ts";

type ReportOf<T extends string> = Omit<Extract<z.input<typeof backendReport>, { type: T }>, "type">;

/** The job is made with an id of one's own, or one is made for it. */
export type CreateJobOptions = z.input<typeof createBackendJobBody>;
export type ProgressReport = ReportOf<"progress">;
export type CompleteReport = Omit<ReportOf<"complete">, "result">;

/**
 * A job without a space, for the backend that does it: here it says how the job goes. Reports arrive in
 * the order in which they are made, also where nobody waits for the one before.
 */
export class JobReporter {
  readonly id: string;
  /** What everybody else has of the job: its state, its events, its result. */
  readonly handle: JobHandle;
  readonly #edge: Edge;
  #last: Promise<unknown> = Promise.resolve();

  constructor(edge: Edge, id: string) {
    this.#edge = edge;
    this.id = id;
    this.handle = new JobHandle(edge, id);
  }

  /** What is not named stays as it is. */
  progress(report: ProgressReport): Promise<ReportReceipt> {
    return this.#report("progress", report, reportReceipt, "safe");
  }

  /** Not sent again where no answer comes: it may have arrived. */
  output(delta: Json): Promise<ReportReceipt> {
    return this.#report("output", { delta }, reportReceipt);
  }

  complete(result: Json = null, more: CompleteReport = {}): Promise<BackendJobResource> {
    return this.#report("complete", { result, ...more }, backendJobResource, "safe");
  }

  fail(message: string, code = "worker_error"): Promise<BackendJobResource> {
    return this.#report("fail", { message, code }, backendJobResource, "safe");
  }

  #report<T>(what: string, body: object, schema: z.ZodType<T>, retry?: "safe"): Promise<T> {
    const path = `/api/jobs/${segment(this.id)}/${what}`;
    const send = () => this.#edge.http.call({ method: "POST", path, body, retry }, schema);
    // One that failed is its caller's to deal with, and keeps back none of the others.
    const answer = this.#last.then(send, send);
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}

/** Makes the job; asked again with the same id, it is the same job. */
export async function createJob(edge: Edge, options: CreateJobOptions): Promise<JobReporter> {
  const path = "/api/jobs";
  const body = { ...options, id: options.id ?? freshId() };
  const { http } = edge;
  const job = await http.call({ method: "POST", path, body, retry: "safe" }, backendJobResource);
  return new JobReporter(edge, job.id);
}
