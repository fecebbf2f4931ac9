import type { z } from "zod";
import { formatPosition } from "../channel/position.ts";
import type { JsonObject } from "../protocol/codec.ts";
import {
  EVENT_DATA,
  type EventDataInput,
  type KnownEventType,
  type RoomEventFrame,
} from "../protocol/room-events.ts";
import { historyResource } from "../protocol/room-frames.ts";

type EventName = `${string}.${string}`;

/** An event that was published to a room. */
export interface RoomEvent {
  type: EventName;
  room: string;
  id: string;
  offset: number;
  timestamp: string;
  data: JsonObject;
  /** Pass this as `since` to continue after this event. */
  position: string;
}

/** An event of a type that the protocol defines, with the data of that type. */
export type RoomEventOf<T extends KnownEventType> = Omit<RoomEvent, "type" | "data"> & {
  type: T;
  data: EventDataInput<T>;
};

/** Whether an event has this type and valid data for it. */
export function isEvent<T extends KnownEventType>(
  event: { type: string; data?: unknown },
  type: T,
): event is RoomEventOf<T> {
  return event.type === type && EVENT_DATA[type].safeParse(event.data).success;
}

/** `null` if the frame is not an event: event types contain a dot. */
export function roomEventOf(frame: RoomEventFrame, epoch: string): RoomEvent | null {
  const { type, offset } = frame;
  if (!isEventName(type)) return null;
  return { ...frame, type, position: formatPosition({ epoch, offset }) };
}

function isEventName(type: string): type is EventName {
  return type.includes(".");
}

export const historySchema = historyResource;
export type HistoryPage = Omit<z.infer<typeof historySchema>, "events" | "more"> & {
  events: RoomEvent[];
  /** Whether the next page has any events. */
  more: boolean;
};

export function pageOf({ events, more, ...page }: z.infer<typeof historySchema>): HistoryPage {
  const { epoch } = page;
  return {
    ...page,
    // An older edge does not say; the page after its last event is empty.
    more: more ?? events.length > 0,
    events: events.flatMap((event) => roomEventOf(event, epoch) ?? []),
  };
}
