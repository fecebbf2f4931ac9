import type { z } from "zod";
import { Edge, segment } from "../client/edge.ts";
import { asDialoutError, type DialoutError } from "../client/errors.ts";
import type { HttpCall } from "../client/http.ts";
import type { SendOptions } from "../client/sending.ts";
import { formOf } from "../client/submit-form.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { parseMessage } from "../protocol/exact-json.ts";
import {
  type JobResource,
  jobResource,
  type SpaceResource,
  spaceResource,
} from "../protocol/resources.ts";
import type { FileField } from "./draft.ts";
import { fetchWithProgress } from "./upload.ts";

export type CallResult<T> = { ok: true; value: T } | { ok: false; error: DialoutError };

export interface FileAttachment {
  field: FileField;
  file: File;
}

/** How long one request may take, milliseconds: the page should soon say that the edge can't be reached. */
const REQUEST_MS = 10_000;

let pageEdge: Edge | null = null;

/** The edge that served this page, used as any other program would use it. */
export function edgeOfPage(): Edge {
  pageEdge ??= new Edge({ parseJson: parseMessage, requestTimeout: REQUEST_MS });
  return pageEdge;
}

export function getSpace(space: string, options: SendOptions): Promise<SpaceResource> {
  return edgeOfPage().http.call(
    { ...options, path: `/api/spaces/${segment(space)}` },
    spaceResource,
  );
}

export function getJob(id: string): Promise<CallResult<JobResource>> {
  return call({ path: `/api/jobs/${segment(id)}` }, jobResource);
}

export function cancelJob(id: string): Promise<CallResult<JobResource>> {
  const path = `/api/jobs/${segment(id)}/cancel`;
  return call({ method: "POST", path, retry: "safe" }, jobResource);
}

/** A submit as the form made it. It may be sent several times, but its key lets it create only one job. */
export interface Submit {
  input: JsonObject;
  attachments: FileAttachment[];
  idempotencyKey: string;
}

/** Goes on trying until the edge answers or the signal aborts. */
export function submitJob(
  space: string,
  { input, attachments, idempotencyKey }: Submit,
  options: SendOptions,
): Promise<CallResult<JobResource>> {
  const files = Object.fromEntries(attachments.map(({ field, file }) => [field, file]));
  const isUpload = attachments.length > 0;
  const request: HttpCall = {
    ...options,
    timeout: Number.POSITIVE_INFINITY,
    method: "POST",
    path: `/api/spaces/${segment(space)}/jobs`,
    body: isUpload ? formOf(input, files, {}) : { input },
    headers: { "idempotency-key": idempotencyKey },
    retry: "safe",
  };
  return call(request, jobResource, isUpload ? edgeOfUploads() : edgeOfPage());
}

let uploadEdge: Edge | null = null;

function edgeOfUploads(): Edge {
  uploadEdge ??= new Edge({
    parseJson: parseMessage,
    requestTimeout: Number.POSITIVE_INFINITY,
    fetch: fetchWithProgress,
  });
  return uploadEdge;
}

/** Sends one request; failures are returned, never thrown. */
export async function call<T>(
  request: HttpCall,
  schema: z.ZodType<T>,
  edge = edgeOfPage(),
): Promise<CallResult<T>> {
  try {
    return { ok: true, value: await edge.http.call(request, schema) };
  } catch (error) {
    return { ok: false, error: asDialoutError(error, "unreachable") };
  }
}
