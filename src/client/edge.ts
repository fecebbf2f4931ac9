import { DialoutError } from "./errors.ts";
import { addressUnder, type Fetch, Http } from "./http.ts";
import { type Token, TokenSource } from "./token-source.ts";

/** The browser's `WebSocket`, Node's, or that of the package `ws`. */
export type WebSocketClass = new (address: string, protocols?: string[]) => object;

export interface EdgeOptions {
  /** The edge's address, with a path where it is served under one; in a page, its own origin if left out. */
  url?: string | URL;
  /** A user's token or the operator's key, or a function that gives one. */
  token?: Token;
  fetch?: Fetch;
  WebSocket?: WebSocketClass;
}

/** An edge and how it is reached: what every handle of one client shares. */
export class Edge {
  readonly url: URL;
  readonly tokens: TokenSource;
  readonly http: Http;
  readonly WebSocket: WebSocketClass | undefined;
  readonly #open = new Set<{ close(): void }>();

  constructor(options: EdgeOptions) {
    this.url = baseOf(options.url);
    this.tokens = new TokenSource(options.token);
    // Looked up with each call: what stands in for the global one, in tests and frameworks, comes later.
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

  /** Kept to be closed with the client. */
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

/** `name` is part of an address, whatever it holds. */
export function segment(name: string): string {
  if (name === "") throw new DialoutError("invalid_request", "A name or id is empty.");
  return encodeURIComponent(name);
}
