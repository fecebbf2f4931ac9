import type { z } from "zod";
import { parseJson } from "../protocol/codec.ts";
import { problem } from "../protocol/resources.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import type { TokenSource } from "./token-source.ts";

export type Fetch = (address: string, init: RequestInit) => Promise<Response>;

export interface HttpCall {
  method?: "GET" | "POST";
  path: string;
  query?: Record<string, string | number | undefined>;
  /** A form, or anything that is sent as JSON. */
  body?: FormData | object;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /**
   * What may be sent again, because it is the same thing when it arrives twice: after no answer or one
   * of a passing failure (`safe`), or after 429 as well (`patient`).
   */
  retry?: "safe" | "patient";
}

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 250;
/** Nobody waits longer than this for one call's next attempt. */
const LONGEST_WAIT_MS = 30_000;
/** A job in its JSON is some levels deeper than in a frame. */
const DEPTH = 80;

/** Calls to the edge: every answer is checked, every refusal is a {@link DialoutError}. */
export class Http {
  readonly #base: URL;
  readonly #tokens: TokenSource;
  readonly #fetch: Fetch;

  constructor(base: URL, tokens: TokenSource, fetch: Fetch) {
    this.#base = base;
    this.#tokens = tokens;
    this.#fetch = fetch;
  }

  /** @throws {DialoutError} where the answer is no success, or none comes */
  async call<T>(call: HttpCall, schema: z.ZodType<T>): Promise<T> {
    const retry = call.retry ?? (call.method === "POST" ? undefined : "safe");
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#callWithToken(call, schema);
      } catch (error) {
        const isLast = attempt === ATTEMPTS || retry === undefined;
        if (isLast || !(error instanceof DialoutError) || !isPassing(error, retry)) throw error;
        await sleep(waitBefore(attempt, error), call.signal);
      }
    }
  }

  /** A token may have run out meanwhile: where another can be had, it is tried once. */
  async #callWithToken<T>(call: HttpCall, schema: z.ZodType<T>): Promise<T> {
    const token = await this.#tokens.current();
    try {
      return await this.#callOnce(call, schema, token);
    } catch (error) {
      const isRefused = error instanceof DialoutError && error.status === 401;
      if (!isRefused || !this.#tokens.canRenew) throw error;
      this.#tokens.refuse(token);
      const fresh = await this.#tokens.current();
      if (fresh === token) throw error;
      return this.#callOnce(call, schema, fresh);
    }
  }

  async #callOnce<T>(call: HttpCall, schema: z.ZodType<T>, token: string | null): Promise<T> {
    const { method = "GET", body, signal } = call;
    const isForm = body instanceof FormData;
    const headers: Record<string, string> = { accept: "application/json", ...call.headers };
    if (token !== null) headers.authorization = `Bearer ${token}`;
    if (body !== undefined && !isForm) headers["content-type"] = "application/json";
    const sent = body === undefined || isForm ? body : JSON.stringify(body);
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(this.#address(call), { method, headers, body: sent, signal });
      text = await response.text();
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new DialoutError("unreachable", "The edge could not be reached.", { cause });
    }
    const parsed = parseJson(text, DEPTH);
    const value = parsed.ok ? parsed.value : undefined;
    if (!response.ok) throw refusalOf(response, value);
    const read = schema.safeParse(value);
    if (read.success) return read.data;
    const message = "The edge answered something this client does not understand.";
    const { status } = response;
    throw new DialoutError("malformed_answer", message, { status, cause: read.error });
  }

  #address({ path, query }: HttpCall): string {
    const address = addressUnder(this.#base, path);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) address.searchParams.set(name, String(value));
    }
    return address.href;
  }
}

/** The edge may be served under a path. */
export function addressUnder(base: URL, path: string): URL {
  const address = new URL(base);
  address.pathname = base.pathname.replace(/\/+$/, "") + path;
  address.search = "";
  address.hash = "";
  return address;
}

function refusalOf(response: Response, body: unknown): DialoutError {
  const { status } = response;
  const retryAfterMs = retryAfterOf(response);
  const read = problem.safeParse(body);
  if (!read.success) {
    return new DialoutError(`http_${status}`, `The edge answered ${status}.`, {
      status,
      retryAfterMs,
    });
  }
  const { code, title, detail, errors } = read.data;
  return new DialoutError(code, detail === "" ? title : detail, { status, retryAfterMs, errors });
}

/** `Retry-After` in its two forms: seconds, or a date. */
function retryAfterOf(response: Response): number | null {
  const text = response.headers.get("retry-after");
  if (text === null) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(ms, 0);
}

function isPassing({ code, status }: DialoutError, retry: "safe" | "patient"): boolean {
  if (code === "unreachable") return true;
  return status !== null && (status >= 500 || (status === 429 && retry === "patient"));
}

/** Twice as long each time, with a spread, or as long as the edge asked for. */
function waitBefore(attempt: number, { retryAfterMs }: DialoutError): number {
  const backoff = FIRST_WAIT_MS * 2 ** attempt * (0.5 + Math.random());
  return Math.min(Math.max(backoff, retryAfterMs ?? 0), LONGEST_WAIT_MS);
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** For what must not fail: whether the edge said no for good, over HTTP, where it gives reasons. */
export async function refusalFor(probe: () => Promise<unknown>): Promise<DialoutError | null> {
  try {
    await probe();
    return null;
  } catch (error) {
    const refusal = asDialoutError(error, "unreachable");
    return refusal.status !== null && [401, 403, 404].includes(refusal.status) ? refusal : null;
  }
}
