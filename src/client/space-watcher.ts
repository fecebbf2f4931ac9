import { formatPosition, type Position } from "../channel/position.ts";
import { type SpaceStatus, spaceResource, spaceStatus } from "../protocol/resources.ts";
import { serverFrame } from "../protocol/subscriber-frames.ts";
import { type Edge, segment } from "./edge.ts";
import { EdgeSocket, PROBE } from "./edge-socket.ts";
import {
  callHandler,
  type LinkHandlers,
  OpenSubscription,
  type Subscription,
} from "./subscription.ts";

export interface SpaceStatusHandlers extends LinkHandlers {
  onStatus(status: SpaceStatus): void;
}

/** Follows a space's status. Each status replaces the one before, so gaps don't matter. */
export function watchSpace(
  edge: Edge,
  name: string,
  handlers: SpaceStatusHandlers,
  signal?: AbortSignal,
): Subscription {
  edge.requireWebSocket();
  const path = `/api/spaces/${segment(name)}`;
  const subscription = new OpenSubscription(edge, handlers, signal);
  if (subscription.isOver) return subscription;
  let epoch = "";
  let last: Position | null = null;
  const since = () => (last === null ? null : formatPosition(last));
  const handleFrame = (frame: unknown) => {
    const read = serverFrame.safeParse(frame);
    if (!read.success) return;
    if (read.data.type === "connection") epoch = read.data.epoch;
    if (read.data.type !== "space.status") return;
    const { offset } = read.data;
    if (last?.epoch === epoch && offset <= last.offset) return;
    last = { epoch, offset };
    const status = spaceStatus.parse(read.data);
    callHandler(() => handlers.onStatus(status));
  };
  const socket = new EdgeSocket(
    edge,
    {
      address: () => edge.socketAddress(`${path}/ws`, { since: since(), batch: "1" }),
      probe: () => edge.http.call({ path, ...PROBE }, spaceResource),
    },
    {
      onOpen: () => subscription.link("open"),
      onDisconnect: (error) => subscription.link("lost", error),
      onFrame: handleFrame,
      onClose: (error) => subscription.finish(error),
    },
  );
  subscription.onStop(() => socket.close());
  return subscription;
}
