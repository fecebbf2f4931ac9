import { type Connection, type LinkState, nextConnection } from "./connection.ts";
import type { Edge } from "./edge.ts";
import type { DialoutError } from "./errors.ts";

/** Following a space, job or room, until `close()` is called or it ends by itself. */
export interface Subscription {
  /** Resolves when following is over: with the error, or `null` after `close()` or a regular end. */
  readonly closed: Promise<DialoutError | null>;
  close(): void;
}

/** Handlers for the state of the connection. */
export interface LinkHandlers {
  /** The connection's state changed; `error` is the reason, if it is known. */
  onLink?(state: LinkState, error: DialoutError | null): void;
  /** Like `onLink`, with everything that a page may show; also called when another dial has failed. */
  onConnection?(connection: Connection): void;
  /** Following has ended with this error and is not tried again. */
  onError?(error: DialoutError): void;
}

/** A subscription in use. It finishes exactly once and releases its socket. */
export class OpenSubscription implements Subscription {
  readonly closed: Promise<DialoutError | null>;
  readonly #handlers: LinkHandlers;
  readonly #edge: Edge;
  #resolveClosed: (error: DialoutError | null) => void = () => undefined;
  #stop: () => void = () => undefined;
  #link: LinkState = "connecting";
  #connection: Connection = { state: "connecting" };
  readonly #since = Date.now();
  /** Code of the error that was reported last. */
  #reported: string | null = null;
  #ended = false;

  /** @param signal closes the subscription; if it has aborted already, the subscription is over at once */
  constructor(edge: Edge, handlers: LinkHandlers, signal?: AbortSignal) {
    this.#edge = edge;
    this.#handlers = handlers;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    edge.register(this);
    closeOn(signal, this);
  }

  get isOver(): boolean {
    return this.#ended;
  }

  /** Registers the cleanup; runs it at once if the subscription is already over. */
  onStop(stop: () => void): void {
    if (this.#ended) stop();
    else this.#stop = stop;
  }

  /** Call when the state of the connection changes, and after each dial that failed. */
  link(state: LinkState, error: DialoutError | null = null): void {
    if (this.#ended) return;
    const before = this.#connection;
    const times = { now: Date.now(), since: this.#since };
    this.#connection = nextConnection(before, state, error, times);
    const isNews = state !== this.#link || (error !== null && error.code !== this.#reported);
    this.#link = state;
    this.#reported = state === "lost" ? (error?.code ?? this.#reported) : null;
    if (isNews) callHandler(() => this.#handlers.onLink?.(state, error));
    if (this.#connection.state !== before.state || error !== null) {
      callHandler(() => this.#handlers.onConnection?.(this.#connection));
    }
  }

  close(): void {
    this.finish(null);
  }

  finish(error: DialoutError | null): void {
    if (this.#ended) return;
    this.link("closed", error);
    this.#ended = true;
    this.#edge.unregister(this);
    this.#stop();
    if (error !== null) callHandler(() => this.#handlers.onError?.(error));
    this.#resolveClosed(error);
  }
}

/** Calls a user's handler. If it throws, the error is rethrown later so that other handlers still run. */
export function callHandler(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Closes the subscription when the signal aborts. */
export function closeOn(signal: AbortSignal | undefined, subscription: Subscription): void {
  if (signal === undefined) return;
  const close = () => subscription.close();
  if (signal.aborted) close();
  else signal.addEventListener("abort", close, { once: true });
  void subscription.closed.then(() => signal.removeEventListener("abort", close));
}
