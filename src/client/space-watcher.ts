import type { SpaceStatus } from "../protocol/resources.ts";
import { type Edge, segment } from "./edge.ts";
import type { SpaceSocketPool } from "./space-socket-pool.ts";
import {
  callHandler,
  type LinkHandlers,
  OpenSubscription,
  type Subscription,
} from "./subscription.ts";

export interface SpaceStatusHandlers extends LinkHandlers {
  onStatus(status: SpaceStatus): void;
}

/** Follows a space's status over the socket that the client shares for it. */
export function watchSpace(
  { edge, sockets }: { edge: Edge; sockets: SpaceSocketPool },
  name: string,
  handlers: SpaceStatusHandlers,
  signal?: AbortSignal,
): Subscription {
  edge.requireWebSocket();
  // Refuses a name that no address can contain, before anything is registered.
  segment(name);
  const subscription = new OpenSubscription(edge, handlers, signal);
  if (subscription.isOver) return subscription;
  const stop = sockets.followStatus(name, {
    onOpen: () => subscription.link("open"),
    onDisconnect: (error) => subscription.link("lost", error),
    onStatus: (status) => callHandler(() => handlers.onStatus(status)),
    onClose: (error) => subscription.finish(error),
  });
  subscription.onStop(stop);
  return subscription;
}
