import type { ParseJson } from "./answer.ts";
import { addressUnder, edgeAddress, isMixedContent } from "./edge-address.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import { checkedDuration, type Fetch, Http } from "./http.ts";
import { withinLimits } from "./time-limit.ts";
import { type Token, TokenSource } from "./token-source.ts";

/** The `WebSocket` class of the browser, of Node.js or of the package `ws`. */
export type WebSocketClass = new (address: string, protocols?: string[]) => object;

export interface EdgeOptions {
  /**
   * The edge's address, including its path if it has one. In a page it defaults to the page's origin. Without a
   * scheme it is a host: `http:` if it is this machine, `https:` otherwise.
   */
  url?: string | URL;
  /** A user's token or the operator's key, or a function that returns one. */
  token?: Token;
  fetch?: Fetch;
  WebSocket?: WebSocketClass;
  /**
   * How long a call is tried before it fails, milliseconds. Without it a call that may be repeated is tried 5
   * times, and for a minute at most; a large body gets more time.
   */
  timeout?: number;
  /** How long one request, or the token function, may take, milliseconds; 20,000 if not given. */
  requestTimeout?: number;
  /**
   * After this much silence on a socket it is tried whether the connection lives, and after as much again another one
   * is opened, milliseconds; 20,000 if not given.
   */
  heartbeat?: number;
  /**
   * Reads JSON instead of `JSON.parse`, which rounds long numbers. Numbers that lose nothing must stay numbers.
   */
  parseJson?: ParseJson;
}

const REQUEST_MS = 20_000;
/** The limit for a request whose answer is not read, milliseconds. */
const BLIND_MS = 5_000;

/** The connection settings that all handles of one client share. */
export class Edge {
  readonly url: URL;
  readonly tokens: TokenSource;
  readonly http: Http;
  readonly parse: ParseJson;
  readonly WebSocket: WebSocketClass | undefined;
  readonly heartbeatMs: number | undefined;
  readonly #fetch: Fetch;
  readonly #open = new Set<{ close(): void }>();
  #closing = new AbortController();

  constructor(options: EdgeOptions) {
    const page = pageAddress();
    this.url = edgeAddress(options.url, page);
    const requestTimeout = checkedDuration("requestTimeout", options.requestTimeout) ?? REQUEST_MS;
    this.tokens = new TokenSource(options.token, requestTimeout);
    this.parse = checkedParser(options.parseJson);
    this.WebSocket = options.WebSocket;
    this.heartbeatMs = checkedDuration("heartbeat", options.heartbeat);
    // Looked up on each call, because tests and frameworks may replace the global `fetch` later.
    this.#fetch = options.fetch ?? ((address, init) => globalThis.fetch(address, init));
    this.http = new Http({
      base: this.url,
      tokens: this.tokens,
      fetch: this.#fetch,
      parse: this.parse,
      isMixedContent: isMixedContent(this.url, page),
      timeout: checkedDuration("timeout", options.timeout),
      requestTimeout,
      closing: () => this.closing,
    });
  }

  /** Aborts when the client is closed the next time. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  socketAddress(path: string, query: Record<string, string | null> = {}): URL {
    const address = addressUnder(this.url, path);
    address.protocol = address.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(query)) {
      if (value !== null) address.searchParams.set(name, value);
    }
    return address;
  }

  /** @throws {DialoutError} `no_websocket` */
  requireWebSocket(): void {
    if (this.WebSocket !== undefined || globalThis.WebSocket !== undefined) return;
    const message =
      "There is no WebSocket here, as in Node.js 20: install the package `ws`, and give the client its class: " +
      'import { WebSocket } from "ws"; new DialoutClient({ url, WebSocket }).';
    throw new DialoutError("no_websocket", message);
  }

  /**
   * Asks over HTTP why a socket could not be opened, because scripts don't learn why a handshake failed. Never
   * rejects; `null` if the edge answers without refusing.
   */
  async refusalFor(probe: () => Promise<unknown>): Promise<DialoutError | null> {
    try {
      await probe();
      return null;
    } catch (cause) {
      const error = asDialoutError(cause, "unreachable");
      return error.code === "unreachable" && (await this.#answersSomebodyElse())
        ? notAnEdge(this.url)
        : error;
    }
  }

  /**
   * Browsers let a page read an answer of another origin only if that allows it, as an edge does. Any other
   * server looks as if it could not be reached, unless it is asked for an answer that nobody reads.
   */
  async #answersSomebodyElse(): Promise<boolean> {
    const page = pageAddress();
    if (page === null || page.origin === this.url.origin) return false;
    const init = { mode: "no-cors", cache: "no-store", credentials: "omit" } as const;
    const limits = { ms: BLIND_MS, late: () => null, signals: [this.closing] };
    return withinLimits((signal) => this.#fetch(this.url.href, { ...init, signal }), limits).then(
      () => true,
      () => false,
    );
  }

  /** Remembers an open subscription, so that closing the client closes it too. */
  register(subscription: { close(): void }): void {
    this.#open.add(subscription);
  }

  unregister(subscription: { close(): void }): void {
    this.#open.delete(subscription);
  }

  close(): void {
    for (const subscription of [...this.#open]) subscription.close();
    const message = "The client was closed before the edge answered.";
    this.#closing.abort(new DialoutError("connection_closed", message));
    this.#closing = new AbortController();
  }
}

function notAnEdge(url: URL): DialoutError {
  const message = `Something answers at ${url.origin}, but it is not an edge: it lets no page of another origin read its answers.`;
  return new DialoutError("not_an_edge", message);
}

/** `null` outside of a page, and in pages without an origin, such as those of `file:`. */
function pageAddress(): URL | null {
  const href = globalThis.location?.href;
  if (href === undefined || !/^https?:/.test(href)) return null;
  return new URL(href);
}

/** Also the protocol's own fields are read with it: if they weren't numbers, every frame would be ignored. */
function checkedParser(parse: ParseJson = JSON.parse): ParseJson {
  const sample = parse('{"offset":7}');
  const isPlain =
    typeof sample === "object" && sample !== null && Reflect.get(sample, "offset") === 7;
  if (isPlain) return (text) => parse(text);
  const message =
    "`parseJson` must return plain objects, and numbers that lose no digits as numbers.";
  throw new DialoutError("invalid_option", message);
}

/**
 * Encodes `name` as one segment of a path, whatever characters it contains.
 *
 * @throws {DialoutError} `invalid_request` if no address can contain the name
 */
export function segment(name: string): string {
  if (typeof name !== "string") throw unusable("must be a text");
  if (name === "") throw unusable("is empty");
  // Browsers and servers resolve these two as steps in the path, even when they are encoded.
  if (name === "." || name === "..") throw unusable(`can't be \`${name}\``);
  if (!name.isWellFormed()) throw unusable("contains half of a surrogate pair");
  return encodeURIComponent(name);
}

function unusable(why: string): DialoutError {
  return new DialoutError("invalid_request", `The name or id ${why}.`);
}
