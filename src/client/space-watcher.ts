import { formatPosition, type Position } from "../channel/position.ts";
import { type SpaceStatus, spaceResource, spaceStatus } from "../protocol/resources.ts";
import { serverFrame } from "../protocol/subscriber-frames.ts";
import { type Edge, segment } from "./edge.ts";
import { EdgeSocket } from "./edge-socket.ts";
import { Ending, type LinkHandlers, type Subscription, tell } from "./subscription.ts";

export interface SpaceSink extends LinkHandlers {
  onStatus(status: SpaceStatus): void;
}

/** Follows a space's status: each one replaces the one before, so that no gap matters. */
export function watchSpace(edge: Edge, name: string, sink: SpaceSink): Subscription {
  const ending = new Ending(edge, sink);
  const path = `/api/spaces/${segment(name)}`;
  let epoch = "";
  let told: Position | null = null;
  const since = () => (told === null ? null : formatPosition(told));
  const take = (frame: unknown) => {
    const read = serverFrame.safeParse(frame);
    if (!read.success) return;
    if (read.data.type === "connection") epoch = read.data.epoch;
    if (read.data.type !== "space.status") return;
    const { offset } = read.data;
    if (told?.epoch === epoch && offset <= told.offset) return;
    told = { epoch, offset };
    const status = spaceStatus.parse(read.data);
    tell(() => sink.onStatus(status));
  };
  const socket = new EdgeSocket(
    edge,
    {
      address: () => edge.socketAddress(`${path}/ws`, { since: since(), batch: "1" }),
      ask: () => edge.http.call({ path }, spaceResource),
    },
    {
      open: () => ending.link("open"),
      lost: (error) => ending.link("lost", error),
      frame: take,
      closed: (error) => ending.finish(error),
    },
  );
  ending.onStop(() => socket.close());
  return ending;
}
