import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { SpaceStatus } from "../protocol/resources.ts";
import type { PublishedEventInput } from "../protocol/room-events.ts";
import type { EventFilter } from "../protocol/room-frames.ts";
import { type Connection, connectionError, type LinkState } from "./connection.ts";
import type { DialoutClient } from "./dialout-client.ts";
import { asDialoutError, type DialoutError } from "./errors.ts";
import type { Gap, JobEvent } from "./job-channel.ts";
import type { JobHandle, JobOptions } from "./job-handle.ts";
import { type JobView, NO_JOB, viewEvent } from "./job-view.ts";
import type { RoomEvent } from "./room-events.ts";
import type { PublishedEvent, RoomHandle } from "./room-handle.ts";
import type { RoomUser } from "./room-users.ts";
import { spaceOf } from "./space-socket-pool.ts";
import { makeStore, type Store } from "./store.ts";
import type { Subscription } from "./subscription.ts";

export type { JobView } from "./job-view.ts";

export interface SpaceView {
  /** `null` until the first status arrives. */
  status: SpaceStatus | null;
  link: LinkState;
  /** The connection with everything that a page may show. */
  connection: Connection;
  /** Why the space can't be followed now; if `link` is `closed`, for good. */
  error: DialoutError | null;
}

export interface RoomView {
  /** The newest events, oldest first. */
  events: readonly RoomEvent[];
  /** Ranges of events that were lost, oldest first. */
  gaps: readonly Gap[];
  /** Who is in the room, with the option `presence`; empty until that is known. */
  users: readonly RoomUser[];
  link: LinkState;
  /** Why the room can't be followed. */
  error: DialoutError | null;
}

/** Publishes an event to the room. The promise rejects with a `DialoutError` if it is not stored. */
export type PublishToRoom = (event: PublishedEventInput) => Promise<PublishedEvent>;

export interface RoomViewOptions {
  filter?: EventFilter;
  /** Starts with this many of the newest events that are stored; with none if not given. */
  last?: number;
  /** Number of events and gaps kept; 100 if not given, or `last` if that is more. */
  limit?: number;
  /** Whether to show who is in the room. */
  presence?: boolean;
}

const CONNECTING = { state: "connecting" } as const;
const NO_SPACE: SpaceView = {
  status: null,
  link: "connecting",
  connection: CONNECTING,
  error: null,
};
const NO_ROOM: RoomView = { events: [], gaps: [], users: [], link: "connecting", error: null };

/** A space's status as it changes. */
export function useSpace(client: DialoutClient, name: string): SpaceView {
  return useStore(client, `space:${name}`, NO_SPACE, (update) => {
    const change = (changed: Partial<SpaceView>) => update((view) => ({ ...view, ...changed }));
    return client.space(name).watch({
      onStatus: (status) => change({ status }),
      onLink: (link) => change({ link }),
      onConnection: (connection) => change({ connection, error: connectionError(connection) }),
    });
  });
}

/**
 * A job's state and output as they change. Without an id nothing is followed. All jobs of a space, and its status
 * (`useSpace`), share one socket; a job that a link opens (`share`) has its own.
 */
export function useJob(
  client: DialoutClient,
  id: string | null | undefined,
  { share }: JobOptions = {},
): JobView {
  return useStore(client, `job:${JSON.stringify([id, share])}`, NO_JOB, (update) => {
    if (id === null || id === undefined) return null;
    const onJobEvent = (event: JobEvent) => update((view) => viewEvent(view, event));
    return jobOf(client, id, { share }).follow({
      onProgress: onJobEvent,
      onOutput: onJobEvent,
      onFile: onJobEvent,
      onRestart: onJobEvent,
      onGap: onJobEvent,
      onLink: (link) => update((view) => ({ ...view, link })),
      onConnection: (connection) =>
        update((view) => ({ ...view, connection, error: connectionError(connection) })),
    });
  });
}

/** A page usually shows several jobs of a space: they share its socket. */
function jobOf(client: DialoutClient, id: string, options: JobOptions): JobHandle {
  const space = spaceOf(id);
  return space === null ? client.job(id, options) : client.space(space).job(id, options);
}

/**
 * A room's newest events, from those that are stored (`last`) or the next one on, who is in it (`presence`), and
 * a function that publishes to it, which stays the same as long as client and room do.
 */
export function useRoom(
  client: DialoutClient,
  room: string,
  options: RoomViewOptions = {},
): RoomView & { publish: PublishToRoom } {
  const { filter, last = 0, limit = Math.max(last, 100), presence = false } = options;
  const key = `room:${JSON.stringify([room, filter, last, limit, presence])}`;
  const view = useStore(client, key, NO_ROOM, (update) =>
    followRoom(client.room(room), { filter, last, limit, presence }, update),
  );
  const publish = useCallback<PublishToRoom>(
    (event) => client.room(room).publish(event),
    [client, room],
  );
  return useMemo(() => ({ ...view, publish }), [view, publish]);
}

function followRoom(
  room: RoomHandle,
  { filter, last, limit, presence }: RoomViewOptions & { last: number; limit: number },
  update: (change: (view: RoomView) => RoomView) => void,
): Closable {
  const change = (changed: Partial<RoomView>) => update((view) => ({ ...view, ...changed }));
  const newest = <T>(items: readonly T[], item: T) => [...items, item].slice(-limit);
  const onError = (error: DialoutError) => change({ error });
  const events = room.subscribe({
    filter,
    last: Math.min(last, limit),
    onEvent: (event) => update((view) => ({ ...view, events: newest(view.events, event) })),
    onGap: (gap) => update((view) => ({ ...view, gaps: newest(view.gaps, gap) })),
    onLink: (link) => change({ link }),
    onError,
  });
  const users = presence
    ? room.watchPresence({ onUsers: (users) => change({ users }), onError })
    : null;
  return {
    close() {
      events.close();
      users?.close();
    },
  };
}

type Closable = Pick<Subscription, "close">;

/** What the views of all hooks have. */
interface FollowedView {
  link: LinkState;
  connection?: Connection;
  error: DialoutError | null;
}

/** An empty name, or an environment without WebSocket, is an error to show, not one that ends the whole page. */
function followOrFail<S extends FollowedView>(
  follow: (update: (change: (state: S) => S) => void) => Closable | null,
  update: (change: (state: S) => S) => void,
): Closable | null {
  try {
    return follow(update);
  } catch (cause) {
    const error = asDialoutError(cause, "invalid_option");
    const link = "closed";
    update((view) => ({ ...view, link, connection: { state: link, error }, error }));
    return null;
  }
}

const stores = new WeakMap<DialoutClient, Map<string, Store<unknown>>>();

/** Components that show the same space, job or room share one subscription. */
function useStore<S extends FollowedView>(
  client: DialoutClient,
  key: string,
  initial: S,
  follow: (update: (change: (state: S) => S) => void) => Closable | null,
): S {
  const known = stores.get(client) ?? new Map<string, Store<unknown>>();
  stores.set(client, known);
  let store = known.get(key) as Store<S> | undefined;
  if (store === undefined) {
    const start = (update: (change: (state: S) => S) => void) => {
      const followed = followOrFail(follow, update);
      return () => followed?.close();
    };
    const onUnused = () => {
      if (known.get(key) === store) known.delete(key);
    };
    store = makeStore({ initial, start, onUnused });
    known.set(key, store);
  }
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => initial);
}
