import { DialoutError } from "./errors.ts";

/** The number of unread events an iterator buffers before it fails with `too_slow`. */
export const MOST_UNREAD = 10_000;

interface PendingRead<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Starts pushing events into the stream, and returns a function that stops it. */
type OpenStream<T> = (stream: EventStream<T>) => () => void;

/**
 * Events as an async iterator. It starts when it is created, not at the first read; leaving the loop
 * ends it. It buffers {@link MOST_UNREAD} unread events; with one more it fails with `too_slow`.
 */
export class EventStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #items: T[] = [];
  readonly #pendingReads: PendingRead<T>[] = [];
  #end: { error: unknown } | null = null;
  #stop: () => void = () => undefined;

  constructor(open: OpenStream<T>, signal?: AbortSignal) {
    if (signal?.aborted) {
      this.#end = { error: signal.reason };
      return;
    }
    const close = open(this);
    const abort = () => {
      this.#items.length = 0;
      this.fail(signal?.reason);
    };
    const stop = () => {
      signal?.removeEventListener("abort", abort);
      close();
    };
    if (this.#end !== null) {
      stop();
      return;
    }
    this.#stop = stop;
    signal?.addEventListener("abort", abort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#items.length > 0) {
      return Promise.resolve({ done: false, value: this.#items.shift() as T });
    }
    if (this.#end === null) {
      return new Promise((resolve, reject) => this.#pendingReads.push({ resolve, reject }));
    }
    const { error } = this.#end;
    // An iterator throws its error once; later reads only report that it is done.
    this.#end = { error: null };
    return error === null ? Promise.resolve(OVER) : Promise.reject(error);
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#items.length = 0;
    this.end();
    this.#end = { error: null };
    return Promise.resolve(OVER);
  }

  push(item: T): void {
    if (this.#end !== null) return;
    const read = this.#pendingReads.shift();
    if (read) read.resolve({ done: false, value: item });
    else if (this.#items.length < MOST_UNREAD) this.#items.push(item);
    else {
      const message = `More than ${MOST_UNREAD} events were not read.`;
      this.fail(new DialoutError("too_slow", message));
    }
  }

  end(): void {
    this.#finish(null);
  }

  /** Events pushed earlier can still be read; then the error is thrown. */
  fail(error: unknown): void {
    this.#finish(error);
  }

  #finish(error: unknown): void {
    if (this.#end !== null) return;
    const pending = this.#pendingReads.splice(0);
    this.#end = { error: pending.length > 0 ? null : error };
    for (const [index, read] of pending.entries()) {
      if (error !== null && index === 0) read.reject(error);
      else read.resolve(OVER);
    }
    this.#stop();
  }
}

const OVER = { done: true, value: undefined } as const;
