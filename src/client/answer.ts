import type { z } from "zod";
import { type Json, parseJson } from "../protocol/codec.ts";
import { PROBLEMS } from "../protocol/codes.ts";
import { problem } from "../protocol/resources.ts";
import { DialoutError } from "./errors.ts";

export type ParseJson = (text: string) => unknown;

/** Nesting allowed in an answer: a job resource nests its input deeper than a frame does. */
const DEPTH = 80;

/** An answer that has arrived completely. */
export interface Answer {
  response: Response;
  text: string;
  method: string;
}

/**
 * Returns the value of an answer.
 *
 * @throws {DialoutError} the edge's refusal, or why this is not an answer of an edge
 */
export function readAnswer<T>(answer: Answer, schema: z.ZodType<T>, parse: ParseJson): T {
  const { response, text } = answer;
  // 204: there is nothing to say.
  const isEmpty = response.status === 204 && text === "";
  const parsed = parseJson(isEmpty ? "null" : text, DEPTH, parse as (text: string) => Json);
  if (!parsed.ok) throw foreignAnswer(answer);
  // After most redirects a POST is repeated as a GET, so that the answer is one to another question.
  if (response.redirected && answer.method === "POST" && !response.ok) throw lostOnRedirect(answer);
  if (!response.ok) throw refusalOf(answer, parsed.value);
  const read = schema.safeParse(parsed.value);
  if (read.success) return read.data;
  if (response.redirected) throw lostOnRedirect(answer);
  const message = "The edge answered something this client does not understand.";
  const { status } = response;
  throw new DialoutError("malformed_answer", message, { status, cause: read.error });
}

/**
 * Whether an edge refused the request. Others answer with the same statuses: a proxy, the login page of a
 * network, or a server that will soon be replaced by the edge.
 */
export function isRefusal({ code, status }: DialoutError): boolean {
  return status !== null && Object.hasOwn(PROBLEMS, code);
}

/** Whether it is a refusal that repeating the request will not change. */
export function isFinal(error: DialoutError): boolean {
  return isRefusal(error) && error.status !== null && [401, 403, 404, 409].includes(error.status);
}

function refusalOf(answer: Answer, body: Json): DialoutError {
  const { status, headers } = answer.response;
  const read = problem.safeParse(body);
  const type = headers.get("content-type") ?? "application/problem+json";
  if (read.success && /^application\/(problem\+)?json\b/.test(type)) {
    const { code, title, detail, errors } = read.data;
    const details = { status, retryAfterMs: retryAfterOf(headers), errors };
    return new DialoutError(code, detail === "" ? title : detail, details);
  }
  return foreignAnswer(answer);
}

function foreignAnswer({ response, text }: Answer): DialoutError {
  const { status, headers, redirected, url } = response;
  const retryAfterMs = retryAfterOf(headers);
  if (status >= 500 || status === 429 || (!response.ok && status !== 404 && isJson(text))) {
    const message = `The answer has the status ${status}, and no reason that an edge would give.`;
    return new DialoutError(`http_${status}`, message, { status, retryAfterMs });
  }
  const what = /^\s*</.test(text) ? "a page of HTML" : "an answer";
  const message =
    `There is no edge at this address: ${what} with the status ${status} came, not the JSON of an edge.` +
    (redirected ? ` The address leads to ${originOf(url)}.` : "") +
    (status === 400 ? ` ${MAYBE_TLS}` : "");
  return new DialoutError("not_an_edge", message, { status, retryAfterMs });
}

function lostOnRedirect({ response: { status, url } }: Answer): DialoutError {
  const message =
    `The address leads to ${originOf(url)}, where a request may arrive changed: ` +
    "if the edge is there, write that as the client's `url`.";
  return new DialoutError("not_an_edge", message, { status });
}

function isJson(text: string): boolean {
  return parseJson(text).ok;
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "another one";
}

/** `Retry-After` in its two forms: seconds, or a date. */
function retryAfterOf(headers: Headers): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(ms, 0);
}

/** Describes why no answer came. Node.js says more than browsers do. */
export function unreachable(cause: unknown, edge: URL, isMixed: boolean): DialoutError {
  const root = rootCause(cause);
  const code = typeof root === "object" && root !== null && "code" in root ? String(root.code) : "";
  const speaks = otherProtocol(edge, code);
  if (speaks !== null) {
    const message = `Something at ${edge.host} speaks ${speaks}, not ${edge.protocol}: the client's \`url\` must say so.`;
    return new DialoutError("wrong_scheme", message, { cause });
  }
  if (isMixed) {
    const message =
      "The edge could not be reached: this page was loaded over https:, so browsers let it make no http: " +
      "requests. Serve the edge over https:, and write that in the client's `url`.";
    return new DialoutError("wrong_scheme", message, { cause });
  }
  const said = root instanceof Error && root !== cause && root.message !== "" ? root.message : code;
  const hint = edge.protocol === "http:" && HUNG_UP.test(code) ? ` ${MAYBE_TLS}` : "";
  const message = `The edge at ${edge.origin} could not be reached${said === "" ? "." : `: ${said}.`}${hint}`;
  return new DialoutError("unreachable", message, { cause });
}

/** A server with TLS hangs up on a request without it, but so does one that is shutting down. */
const HUNG_UP = /^(UND_ERR_SOCKET|ECONNRESET)$/;
const MAYBE_TLS = "If the edge is served over https:, the client's `url` must say so.";

/** How Node.js shows that a server with TLS was addressed without it, or the other way round. */
function otherProtocol(edge: URL, code: string): "http:" | "https:" | null {
  if (edge.protocol === "https:") {
    return /^(ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST)|EPROTO)$/.test(
      code,
    )
      ? "http:"
      : null;
  }
  return code === "HPE_INVALID_CONSTANT" ? "https:" : null;
}

function rootCause(error: unknown): unknown {
  let root = error;
  for (let depth = 0; depth < 5 && root instanceof Error; depth += 1) {
    if (root instanceof AggregateError && root.errors.length > 0) root = root.errors[0];
    else if (root.cause === undefined) break;
    else root = root.cause;
  }
  return root;
}
