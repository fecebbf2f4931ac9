import type { z } from "zod";
import { Edge } from "../client/edge.ts";
import { asDialoutError, type DialoutError } from "../client/errors.ts";
import type { HttpCall } from "../client/http.ts";
import { parseMessage } from "../protocol/exact-json.ts";

export type CallResult<T> = { ok: true; value: T } | { ok: false; error: DialoutError };

/** How long one request may take, milliseconds: the page should soon say that the edge can't be reached. */
const REQUEST_MS = 10_000;
/** A dead connection is noticed before the lease of a worker would be over (30 s). */
const HEARTBEAT_MS = 10_000;

let pageEdge: Edge | null = null;

/** The edge that served this page, used as any other program would use it. */
export function edgeOfPage(): Edge {
  pageEdge ??= new Edge({
    parseJson: parseMessage,
    requestTimeout: REQUEST_MS,
    heartbeat: HEARTBEAT_MS,
  });
  return pageEdge;
}

/**
 * Sends one request of a page to the edge: with a time limit, and again if no answer comes and nothing can happen twice
 * because of that. Never rejects.
 */
export function call<T>(request: HttpCall, schema: z.ZodType<T>): Promise<CallResult<T>> {
  return resultOf(edgeOfPage().http.call({ retry: retryOf(request), ...request }, schema));
}

/** Reading waits for as long as the edge asks for (`Retry-After`); what only sets or removes something may arrive twice. */
function retryOf({ method = "GET" }: HttpCall): HttpCall["retry"] {
  if (method === "GET") return "patient";
  return method === "POST" ? "never" : "safe";
}

/** The outcome of a call as a value, because pages show failures. */
export async function resultOf<T>(calling: Promise<T>): Promise<CallResult<T>> {
  try {
    return { ok: true, value: await calling };
  } catch (error) {
    return { ok: false, error: asDialoutError(error, "unreachable") };
  }
}
