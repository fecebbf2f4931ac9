import { DialoutError } from "./errors.ts";
import { addressUnder, type Fetch, Http } from "./http.ts";
import { type Token, TokenSource } from "./token-source.ts";

/** The `WebSocket` class of the browser, of Node.js or of the package `ws`. */
export type WebSocketClass = new (address: string, protocols?: string[]) => object;

export interface EdgeOptions {
  /** The edge's address, including its path if it has one. In a page it defaults to the page's origin. */
  url?: string | URL;
  /** A user's token or the operator's key, or a function that returns one. */
  token?: Token;
  fetch?: Fetch;
  WebSocket?: WebSocketClass;
}

/** The connection settings that all handles of one client share. */
export class Edge {
  readonly url: URL;
  readonly tokens: TokenSource;
  readonly http: Http;
  readonly WebSocket: WebSocketClass | undefined;
  readonly #open = new Set<{ close(): void }>();

  constructor(options: EdgeOptions) {
    this.url = baseOf(options.url);
    this.tokens = new TokenSource(options.token);
    // Looked up on each call, because tests and frameworks may replace the global `fetch` later.
    const fetch: Fetch = options.fetch ?? ((address, init) => globalThis.fetch(address, init));
    this.http = new Http(this.url, this.tokens, fetch);
    this.WebSocket = options.WebSocket;
  }

  socketAddress(path: string, query: Record<string, string | null> = {}): URL {
    const address = addressUnder(this.url, path);
    address.protocol = address.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(query)) {
      if (value !== null) address.searchParams.set(name, value);
    }
    return address;
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
  }
}

function baseOf(url: string | URL | undefined): URL {
  const here = globalThis.location?.origin;
  if (url === undefined && here === undefined)
    throw new TypeError("The edge's `url` is needed here.");
  const base = new URL(url ?? here ?? "", here);
  if (!/^https?:$/.test(base.protocol)) {
    throw new TypeError(`The edge's \`url\` begins with http: or https:, not ${base.protocol}`);
  }
  return base;
}

/** Encodes `name` as one path segment, whatever characters it contains. */
export function segment(name: string): string {
  if (name === "") throw new DialoutError("invalid_request", "A name or id is empty.");
  return encodeURIComponent(name);
}
