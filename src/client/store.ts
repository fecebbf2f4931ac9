import { callHandler } from "./subscription.ts";

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
  onUnused?(): void;
}

/** Frames may come by the thousand; who looks is told this often at most, milliseconds. */
const NOTIFY_MS = 16;
/** Components come and go together, when a page changes or is tried out twice. */
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
