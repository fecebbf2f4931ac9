import { callHandler } from "./subscription.ts";

/** State that several components share. It is followed while at least one listens, and LINGER_MS longer. */
export interface Store<S> {
  subscribe(listener: () => void): () => void;
  getSnapshot(): S;
}

export interface StoreSource<S> {
  initial: S;
  /** Starts following, and returns a function that stops it. */
  start(update: (change: (state: S) => S) => void): () => void;
  /** Called after the last listener has left and following has stopped. */
  onUnused?(): void;
}

/** Listeners are notified at most this often, because thousands of frames may arrive per second. */
const NOTIFY_MS = 16;
/** Following continues this long without listeners: React unmounts and remounts during page changes. */
const LINGER_MS = 250;

export function makeStore<S>({ initial, start, onUnused }: StoreSource<S>): Store<S> {
  const listeners = new Set<() => void>();
  let state = initial;
  let shown = initial;
  let stop: (() => void) | null = null;
  let notifyTimer: ReturnType<typeof setTimeout> | undefined;
  let lingerTimer: ReturnType<typeof setTimeout> | undefined;
  const notify = () => {
    notifyTimer = undefined;
    shown = state;
    for (const listener of listeners) callHandler(listener);
  };
  const update = (change: (state: S) => S) => {
    state = change(state);
    notifyTimer ??= setTimeout(notify, NOTIFY_MS);
  };
  const stopFollowing = () => {
    stop?.();
    stop = null;
    clearTimeout(notifyTimer);
    notifyTimer = undefined;
    state = initial;
    shown = initial;
    onUnused?.();
  };
  return {
    getSnapshot: () => shown,
    subscribe(listener) {
      listeners.add(listener);
      clearTimeout(lingerTimer);
      stop ??= start(update);
      return () => {
        listeners.delete(listener);
        clearTimeout(lingerTimer);
        if (listeners.size === 0) lingerTimer = setTimeout(stopFollowing, LINGER_MS);
      };
    },
  };
}
