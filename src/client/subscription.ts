import type { Edge } from "./edge.ts";
import type { LinkState } from "./edge-socket.ts";
import type { DialoutError } from "./errors.ts";

/** Something that is followed, until it is closed or ends by itself. */
export interface Subscription {
  /** Resolves once it is over: with what ended it, or `null` where that was `close()` or the end itself. */
  readonly closed: Promise<DialoutError | null>;
  close(): void;
}

/** What every follower may want to know of its connection. */
export interface LinkHandlers {
  /** `lost`: it is dialed again; `error` says why, where that is known. */
  onLink?(state: LinkState, error: DialoutError | null): void;
  /** It is over, for this reason, and will not be tried again. */
  onError?(error: DialoutError): void;
}

/** Ends once, with everything that hangs on it. */
export class OpenSubscription implements Subscription {
  readonly closed: Promise<DialoutError | null>;
  readonly #handlers: LinkHandlers;
  readonly #edge: Edge;
  #resolveClosed: (error: DialoutError | null) => void = () => undefined;
  #stop: () => void = () => undefined;
  #link: LinkState = "connecting";
  #ended = false;

  constructor(edge: Edge, handlers: LinkHandlers) {
    this.#edge = edge;
    this.#handlers = handlers;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    edge.register(this);
  }

  get isOver(): boolean {
    return this.#ended;
  }

  /** What to do at the end; at once where that has come already. */
  onStop(stop: () => void): void {
    if (this.#ended) stop();
    else this.#stop = stop;
  }

  link(state: LinkState, error: DialoutError | null = null): void {
    if (this.#ended || (state === this.#link && error === null)) return;
    this.#link = state;
    callHandler(() => this.#handlers.onLink?.(state, error));
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

/** A handler that throws is its owner's fault, and must not keep others from being told. */
export function callHandler(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Closes what is followed once the signal says so. */
export function closeOn(signal: AbortSignal | undefined, subscription: Subscription): void {
  if (signal === undefined) return;
  const close = () => subscription.close();
  if (signal.aborted) close();
  else signal.addEventListener("abort", close, { once: true });
  void subscription.closed.then(() => signal.removeEventListener("abort", close));
}
