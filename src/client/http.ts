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
  /** A form is sent as it is, any other object as JSON. */
  body?: FormData | object;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /**
   * Set only for requests that have the same effect if they arrive twice. `safe` retries if no answer
   * arrives or after a 5xx status; `patient` also after 429.
   */
  retry?: "safe" | "patient";
}

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 250;
/** Longest wait between two attempts of one call, even if the edge asks for more. */
const LONGEST_WAIT_MS = 30_000;
/** Nesting allowed in an answer: a job resource nests its input deeper than a frame does. */
const DEPTH = 80;

/** Makes HTTP calls to the edge, validates the answers and turns refusals into {@link DialoutError}s. */
export class Http {
  readonly #base: URL;
  readonly #tokens: TokenSource;
  readonly #fetch: Fetch;

  constructor(base: URL, tokens: TokenSource, fetch: Fetch) {
    this.#base = base;
    this.#tokens = tokens;
    this.#fetch = fetch;
  }

  /** @throws {DialoutError} if the edge refuses the call, or no valid answer arrives */
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

  /** The token may have expired: after a 401 the call is tried once more with a fresh token. */
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

/** Appends `path` to the base address, which may have a path itself. */
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

/** Exponential backoff with jitter, or the edge's `Retry-After` if that is longer; milliseconds. */
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

/**
 * Returns the edge's refusal if the request fails with a final status (401, 403, 404); never rejects. An answer that
 * is no problem (H2) comes from a proxy in between, for example while the edge behind it restarts.
 */
export async function refusalFor(probe: () => Promise<unknown>): Promise<DialoutError | null> {
  try {
    await probe();
    return null;
  } catch (error) {
    const refusal = asDialoutError(error, "unreachable");
    const { status, code } = refusal;
    const isFinal = status !== null && [401, 403, 404].includes(status);
    return isFinal && code !== `http_${status}` ? refusal : null;
  }
}
