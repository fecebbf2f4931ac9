import type { z } from "zod";
import { type JsonObject, parseJson } from "../protocol/codec.ts";
import { parseMessage } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  type JobResource,
  jobResource,
  problem,
  type SpaceResource,
  spaceResource,
} from "../protocol/resources.ts";
import type { FileField } from "./draft.ts";

/** Why a call failed; `status` is `null` if no answer arrived. */
export interface CallRefusal {
  status: number | null;
  code: string;
  message: string;
}

export type CallResult<T> = { ok: true; value: T } | { ok: false; refusal: CallRefusal };

export interface FileAttachment {
  field: FileField;
  file: File;
}

export function getSpace(space: string): Promise<CallResult<SpaceResource>> {
  return call(`/api/spaces/${encodeURIComponent(space)}`, spaceResource);
}

export function getJob(id: string): Promise<CallResult<JobResource>> {
  return call(`/api/jobs/${encodeURIComponent(id)}`, jobResource);
}

export function cancelJob(id: string): Promise<CallResult<JobResource>> {
  return call(`/api/jobs/${encodeURIComponent(id)}/cancel`, jobResource, { method: "POST" });
}

export function submitJob(space: string, input: JsonObject): Promise<CallResult<JobResource>> {
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify({ input }) };
  return call(`/api/spaces/${encodeURIComponent(space)}/jobs`, jobResource, init);
}

export function uploadJob(
  space: string,
  prompt: string,
  attachments: FileAttachment[],
): Promise<CallResult<JobResource>> {
  const body = new FormData();
  if (prompt.trim() !== "") body.append("prompt", prompt);
  for (const { field, file } of attachments) body.append(field, file, file.name);
  const path = `/api/spaces/${encodeURIComponent(space)}/jobs`;
  return call(path, jobResource, { method: "POST", body });
}

/** Sends one request and validates the answer; failures are returned, never thrown. */
export async function call<T>(
  path: string,
  schema: z.ZodType<T>,
  init?: RequestInit & { headers?: Record<string, string> },
): Promise<CallResult<T>> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      ...init,
      headers: { accept: "application/json", ...init?.headers },
    });
    text = await response.text();
  } catch {
    const message = "The edge could not be reached.";
    return { ok: false, refusal: { status: null, code: "unreachable", message } };
  }
  const body = parseJson(text, LIMITS.jsonDepth + 8, parseMessage);
  if (!response.ok) return { ok: false, refusal: readProblem(response.status, body) };
  const value = schema.safeParse(body.ok ? body.value : undefined);
  if (value.success) return { ok: true, value: value.data };
  const message = "The edge sent an answer that this page does not understand.";
  return { ok: false, refusal: { status: response.status, code: "malformed_answer", message } };
}

function readProblem(status: number, body: ReturnType<typeof parseJson>): CallRefusal {
  const read = problem.safeParse(body.ok ? body.value : undefined);
  if (!read.success)
    return { status, code: `http_${status}`, message: `The edge answered ${status}.` };
  const { code, title, detail } = read.data;
  return { status, code, message: detail === "" ? title : detail };
}
