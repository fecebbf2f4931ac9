import type { JsonObject } from "../protocol/codec.ts";
import { EVENT_DATA, type EventDataInput, type KnownEventType } from "../protocol/room-events.ts";
import { Edge, type EdgeOptions } from "./edge.ts";
import { type PublishedEvent, publishEvent } from "./room-handle.ts";

export { DialoutError } from "./errors.ts";
export type { PublishedEvent } from "./room-handle.ts";

export type BroadcasterOptions = EdgeOptions;

export interface PublishOptions {
  /** Two publishes with the same id store one event. A random id is used if none is given. */
  id?: string;
  signal?: AbortSignal;
}

/** The data of an event type that the protocol defines, or any JSON object for a custom type. */
export type DataOf<T extends string> = T extends KnownEventType ? EventDataInput<T> : JsonObject;

class Publisher {
  readonly #edge: Edge;

  constructor(options: BroadcasterOptions = {}) {
    this.#edge = new Edge(options);
  }

  /**
   * Publishes one event, which is stored once the promise resolves. After a passing failure (network,
   * edge, rate limit) it is sent again with the same id, so the event is never stored twice.
   *
   * @throws {DialoutError} if the edge refuses the event, or stays unreachable through all retries
   */
  publish<T extends string>(
    room: string,
    type: T,
    data: DataOf<T>,
    { id, signal }: PublishOptions = {},
  ): Promise<PublishedEvent> {
    const event = { type, data: data as JsonObject, id };
    return publishEvent(this.#edge, room, event, { retry: "patient", signal });
  }
}

/** Each project and each agent has its own room, named after the id in the event's data. */
const SUBJECTS = ["project", "agent"] as const;
type Subject = (typeof SUBJECTS)[number];
type SubjectOf<T> = T extends `${infer S extends Subject}.${string}` ? S : never;

/** `agent.status_changed` → `AgentStatusChanged`. */
type PascalCase<S extends string> = S extends `${infer A}.${infer B}`
  ? `${PascalCase<A>}${PascalCase<B>}`
  : S extends `${infer A}_${infer B}`
    ? `${PascalCase<A>}${PascalCase<B>}`
    : Capitalize<S>;

/** The event's data without the subject's id, which callers already pass as the first argument. */
type DataWithoutSubject<T extends KnownEventType> = {
  [K in keyof EventDataInput<T> as K extends `${SubjectOf<T>}_id`
    ? never
    : K]: EventDataInput<T>[K];
};

type Broadcast<To, Data> =
  Record<never, never> extends Data
    ? (to: To, data?: Data, options?: PublishOptions) => Promise<PublishedEvent>
    : (to: To, data: Data, options?: PublishOptions) => Promise<PublishedEvent>;

/** A room's name contains a colon or is `global`; any other value is the id of a project. */
export type RoomOrProject = string | number;

/**
 * A method for every event type of the protocol: `broadcastProjectUpdated(projectId, data)` and
 * `broadcastAgentConnected(agentId, data)` publish to the room of that project or agent, all others
 * to the room or project that is named: `broadcastPrCreated("project:42", data)`.
 */
export type Broadcasts = {
  [T in KnownEventType as `broadcast${PascalCase<T>}`]: SubjectOf<T> extends never
    ? Broadcast<RoomOrProject, EventDataInput<T>>
    : Broadcast<string | number, DataWithoutSubject<T>>;
};

function defineBroadcast(type: KnownEventType): void {
  const [kind] = type.split(".");
  const subject = SUBJECTS.find((name) => name === kind);
  const words = type.split(/[._]/).map((word) => word[0]?.toUpperCase() + word.slice(1));
  Object.defineProperty(Publisher.prototype, `broadcast${words.join("")}`, {
    value(this: Publisher, to: RoomOrProject, data: JsonObject = {}, options?: PublishOptions) {
      if (subject === undefined) return this.publish(roomOf(to), type, data as never, options);
      const whole = { ...data, [`${subject}_id`]: String(to) };
      return this.publish(`${subject}:${to}`, type, whole as never, options);
    },
  });
}

function roomOf(to: RoomOrProject): string {
  return to === "global" || String(to).includes(":") ? String(to) : `project:${to}`;
}

for (const type of Object.keys(EVENT_DATA)) defineBroadcast(type as KnownEventType);

const WithBroadcasts = Publisher as new (options?: BroadcasterOptions) => Publisher & Broadcasts;

/** Publishes events to rooms, for backends. */
export class Broadcaster extends WithBroadcasts {}
