import { tell } from "./subscription.ts";

/** What many components may look at, followed once: while anybody looks, and a little longer. */
export interface Store<S> {
  subscribe(listener: () => void): () => void;
  getSnapshot(): S;
}

export interface StoreSource<S> {
  initial: S;
  /** Follows what the store is about, and returns what ends that. */
  start(update: (change: (state: S) => S) => void): () => void;
  /** Nobody looks any more. */
  left?(): void;
}

/** Frames may come by the thousand; who looks is told this often at most, milliseconds. */
const TELL_MS = 16;
/** Components come and go together, when a page changes or is tried out twice. */
const LINGER_MS = 250;

export function makeStore<S>({ initial, start, left }: StoreSource<S>): Store<S> {
  const listeners = new Set<() => void>();
  let state = initial;
  let shown = initial;
  let stop: (() => void) | null = null;
  let telling: ReturnType<typeof setTimeout> | undefined;
  let leaving: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    telling = undefined;
    shown = state;
    for (const listener of listeners) tell(listener);
  };
  const update = (change: (state: S) => S) => {
    state = change(state);
    telling ??= setTimeout(show, TELL_MS);
  };
  const leave = () => {
    stop?.();
    stop = null;
    clearTimeout(telling);
    telling = undefined;
    state = initial;
    shown = initial;
    left?.();
  };
  return {
    getSnapshot: () => shown,
    subscribe(listener) {
      listeners.add(listener);
      clearTimeout(leaving);
      stop ??= start(update);
      return () => {
        listeners.delete(listener);
        clearTimeout(leaving);
        if (listeners.size === 0) leaving = setTimeout(leave, LINGER_MS);
      };
    },
  };
}
