import type { Env } from "../env.ts";
import type { PublishedEvent } from "../protocol/room-events.ts";
import type { Published } from "./calls.ts";

/** Publishes to a room from anywhere inside the edge; what is published has been checked, and its right too. */
export function publishTo(
  env: Pick<Env, "ROOM">,
  room: string,
  events: PublishedEvent[],
): Promise<Published[]> {
  return env.ROOM.getByName(room).publish(events);
}
