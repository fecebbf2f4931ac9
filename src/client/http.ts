import type { z } from "zod";
import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import { isFinal, isRefusal, type ParseJson, readAnswer, unreachable } from "./answer.ts";
import { addressUnder } from "./edge-address.ts";
import { DialoutError } from "./errors.ts";
import { encodeJson } from "./json-body.ts";
import type { SendOptions } from "./sending.ts";
import { sleep, withinLimits } from "./time-limit.ts";
import type { TokenSource } from "./token-source.ts";

export type Fetch = (address: string, init: RequestInit) => Promise<Response>;

export interface HttpCall extends SendOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | undefined>;
  /** A form, or the bytes of a blob, is sent as it is, any other object as JSON. */
  body?: FormData | Blob | object;
  headers?: Record<string, string>;
  /**
   * Set only for requests that have the same effect if they arrive twice. `safe` repeats the request if no
   * answer of an edge arrives, or after a 5xx status; `patient` also after the edge's own 429; `never` not even
   * a GET.
   */
  retry?: "safe" | "patient" | "never";
}

export interface HttpSettings {
  base: URL;
  tokens: TokenSource;
  fetch: Fetch;
  parse: ParseJson;
  /** Whether browsers forbid this page to make requests to `base`. */
  isMixedContent: boolean;
  /** The limit for a call with its repeats, milliseconds; `undefined`: the default. */
  timeout: number | undefined;
  /** The limit for one request, milliseconds. Large bodies get more time. */
  requestTimeout: number;
  /** Aborts when the client is closed. */
  closing: () => AbortSignal;
}

/** How often and how long a call is tried if no `timeout` is given. */
const ATTEMPTS = 5;
const CALL_MS = 60_000;
const FIRST_WAIT_MS = 250;
/** Longest wait between two attempts, by itself and if the edge asks for more. */
const LONGEST_BACKOFF_MS = 8_000;
const LONGEST_WAIT_MS = 30_000;

/** Makes HTTP calls to the edge, validates the answers and turns refusals into {@link DialoutError}s. */
export class Http {
  readonly #settings: HttpSettings;

  constructor(settings: HttpSettings) {
    this.#settings = settings;
  }

  /** @throws {DialoutError} if the edge refuses the call, or no valid answer arrives in time */
  async call<T>(call: HttpCall, schema: z.ZodType<T>): Promise<T> {
    const request = { ...call, ...encode(call.body) };
    const given = checkedDuration("timeout", call.timeout) ?? this.#settings.timeout;
    const ms = given ?? CALL_MS + request.extraMs;
    const state: CallState = { since: Date.now(), until: Date.now() + ms, last: null };
    const late = () => state.last ?? timedOut(ms);
    const attempts = given === undefined ? ATTEMPTS : Number.POSITIVE_INFINITY;
    const signals = [call.signal, this.#settings.closing()];
    return withinLimits(
      (signal, restart) => {
        const onProgress = () => {
          // A time that the caller gave is kept; the usual one is meant for an edge from which nothing comes.
          if (given !== undefined) return;
          state.until = Date.now() + ms;
          restart();
        };
        return this.#repeat({ ...request, signal, onProgress }, schema, state, attempts);
      },
      { ms, late, signals },
    );
  }

  async #repeat<T>(
    request: HttpRequest,
    schema: z.ZodType<T>,
    state: CallState,
    attempts: number,
  ): Promise<T> {
    const retry = request.retry ?? ((request.method ?? "GET") === "GET" ? "safe" : "never");
    const { since } = state;
    for (let attempt = 1; ; attempt += 1) {
      notify(request, { state: "sending", attempt, since });
      try {
        return await this.#callWithToken(request, schema);
      } catch (error) {
        if (!(error instanceof DialoutError) || !isPassing(error, retry)) throw error;
        state.last = error;
        const retryAt = Date.now() + waitBefore(attempt, error);
        if (attempt >= attempts || retryAt >= state.until) throw error;
        notify(request, { state: "waiting", attempt, since, error, retryAt });
        await sleep(retryAt - Date.now(), request.signal);
      }
    }
  }

  /** The token may have expired: after the edge's 401 the call is tried once more with a fresh token. */
  async #callWithToken<T>(request: HttpRequest, schema: z.ZodType<T>): Promise<T> {
    const { tokens } = this.#settings;
    const token = await tokens.current();
    try {
      return await this.#callOnce(request, schema, token);
    } catch (error) {
      const wasRefused =
        error instanceof DialoutError && isFinal(error) && error.code === "not_authenticated";
      if (!wasRefused || !tokens.canRenew) throw error;
      tokens.refuse(token);
      const fresh = await tokens.current();
      if (fresh === token) throw error;
      return this.#callOnce(request, schema, fresh);
    }
  }

  async #callOnce<T>(request: HttpRequest, schema: z.ZodType<T>, token: string | null): Promise<T> {
    const { base, fetch, parse, isMixedContent, requestTimeout } = this.#settings;
    const { method = "GET", sent } = request;
    const headers = { accept: "application/json", ...request.contentType, ...request.headers };
    const all = token === null ? headers : { ...headers, authorization: `Bearer ${token}` };
    const address = this.#address(request);
    const ms = requestTimeout + request.extraMs;
    const answer = await withinLimits(
      async (signal, restart) => {
        const response = await fetch(address, { method, headers: all, body: sent, signal });
        const onProgress = () => {
          restart();
          request.onProgress();
        };
        return { response, text: await textOf(response, onProgress), method };
      },
      { ms, late: () => timedOut(ms), signals: [request.signal] },
    ).catch((cause) => {
      if (request.signal.aborted || cause instanceof DialoutError) throw cause;
      throw unreachable(cause, base, isMixedContent);
    });
    return readAnswer(answer, schema, parse);
  }

  #address({ path, query }: HttpCall): string {
    const address = addressUnder(this.#settings.base, path);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) address.searchParams.set(name, String(value));
    }
    return address.href;
  }
}

interface Encoded {
  sent: string | FormData | Blob | undefined;
  contentType: Record<string, string>;
  /** Additional time for a large body, milliseconds. */
  extraMs: number;
}

type HttpRequest = HttpCall & Encoded & { signal: AbortSignal; onProgress(): void };

interface CallState {
  since: number;
  until: number;
  /** Why the latest attempt failed. */
  last: DialoutError | null;
}

function encode(body: FormData | object | undefined): Encoded {
  if (body === undefined) return { sent: undefined, contentType: {}, extraMs: 0 };
  if (body instanceof FormData) {
    const bytes = [...body.values()].reduce((sum, part) => sum + sizeOf(part), 0);
    return { sent: body, contentType: {}, extraMs: extraMsOf(bytes) };
  }
  if (body instanceof Blob) return { sent: body, contentType: {}, extraMs: extraMsOf(body.size) };
  const sent = encodeJson(body);
  const contentType = { "content-type": "application/json" };
  return { sent, contentType, extraMs: extraMsOf(byteLength(sent)) };
}

/** How much more time a body gets: `fetch` can't tell whether any of it was sent. */
function extraMsOf(bytes: number): number {
  return (bytes / LIMITS.slowestBytesPerS) * 1_000;
}

/** Reads an answer piece by piece, because each piece shows that the edge is there. */
async function textOf(response: Response, onProgress: () => void): Promise<string> {
  // A `fetch` that the user gave may have no streams.
  if (typeof response.body?.getReader !== "function") return response.text();
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    onProgress();
    text += decoder.decode(value, { stream: true });
  }
}

function sizeOf(part: FormDataEntryValue): number {
  return typeof part === "string" ? part.length : part.size;
}

/** A handler that throws must not look like a failed attempt. */
function notify(
  request: HttpCall,
  sending: Parameters<NonNullable<HttpCall["onSending"]>>[0],
): void {
  try {
    request.onSending?.(sending);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** @throws {DialoutError} `invalid_option` if this is no time to wait */
export function checkedDuration(name: string, ms: number | undefined): number | undefined {
  if (ms === undefined || (typeof ms === "number" && ms > 0)) return ms;
  throw new DialoutError("invalid_option", `\`${name}\` must be a number of milliseconds above 0.`);
}

function timedOut(ms: number): DialoutError {
  const seconds = Math.round(ms / 100) / 10;
  return new DialoutError("timed_out", `No answer came within ${seconds} s.`);
}

/** Whether the same request may succeed later. What isn't an edge's answer may be something in between. */
function isPassing(error: DialoutError, retry: "safe" | "patient" | "never"): boolean {
  const { code, status } = error;
  if (retry === "never" || code === "invalid_token" || code === "malformed_answer") return false;
  if (!isRefusal(error)) return true;
  return status !== null && (status >= 500 || (status === 429 && retry === "patient"));
}

/** Exponential backoff with jitter, or the edge's `Retry-After` if that is longer; milliseconds. */
function waitBefore(attempt: number, { retryAfterMs }: DialoutError): number {
  const backoff =
    Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_BACKOFF_MS) * (0.5 + Math.random());
  return Math.min(Math.max(backoff, retryAfterMs ?? 0), LONGEST_WAIT_MS);
}
