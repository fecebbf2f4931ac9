import type { z } from "zod";
import {
  type PublishedEventInput,
  type PublishedResource,
  publishedResource,
} from "../protocol/room-events.ts";
import { type EventFilter, presenceResource } from "../protocol/room-frames.ts";
import { type Edge, segment } from "./edge.ts";
import { EventStream } from "./event-stream.ts";
import { freshId } from "./fresh-id.ts";
import type { Gateway } from "./gateway.ts";
import type { Gap } from "./job-channel.ts";
import { type HistoryPage, historySchema, pageOf, type RoomEvent } from "./room-events.ts";
import { type Presence, type RoomEventHandlers, RoomSubscriber } from "./room-subscriber.ts";
import { closeOn, type LinkHandlers, OpenSubscription, type Subscription } from "./subscription.ts";

export interface SubscribeOptions {
  /** The `position` of the last event received. Without it, following starts with the next event. */
  since?: string;
  filter?: EventFilter;
  /** Fetches lost events from the room's history, if it still has them. */
  fillGaps?: boolean;
  signal?: AbortSignal;
}

export interface RoomHandlers extends SubscribeOptions, LinkHandlers {
  onEvent?(event: RoomEvent): void;
  /** Events published while the client was disconnected are lost. */
  onGap?(gap: Gap): void;
  /** A user joined or left the room. */
  onPresence?(presence: Presence): void;
}

export interface HistoryOptions {
  since?: string;
  /** Most events in a page, up to 1,000. */
  limit?: number;
  signal?: AbortSignal;
}

/** A published event's place in the room. `repeated`: an event with this id existed; this is its place. */
export type PublishedEvent = PublishedResource;
export type RoomPresence = z.infer<typeof presenceResource>;

/** Publishes with an id, so that a retry does not store the event twice. */
export function publishEvent(
  edge: Edge,
  room: string,
  event: PublishedEventInput,
  options: { retry: "safe" | "patient"; signal?: AbortSignal },
): Promise<PublishedEvent> {
  const path = `/api/rooms/${segment(room)}/events`;
  const body = { ...event, id: event.id ?? freshId() };
  return edge.http.call({ method: "POST", path, body, ...options }, publishedResource);
}

/** Refers to a room by its name; sends nothing until a method is called. */
export class RoomHandle {
  readonly name: string;
  readonly #edge: Edge;
  readonly #gateway: Gateway;

  constructor(edge: Edge, gateway: Gateway, name: string) {
    this.#edge = edge;
    this.#gateway = gateway;
    this.name = name;
  }

  /** Calls the handlers for the room's events. All rooms of a client share one socket. */
  subscribe(handlers: RoomHandlers): Subscription {
    const { onPresence } = handlers;
    const subscription = this.#join(handlers, handlers, {
      onEvent: (event) => handlers.onEvent?.(event),
      onGap: (gap) => handlers.onGap?.(gap),
      onPresence: onPresence && ((presence) => handlers.onPresence?.(presence)),
    });
    closeOn(handlers.signal, subscription);
    return subscription;
  }

  /** The room's events, with a `gap` in the place of lost ones. */
  events(options: SubscribeOptions = {}): EventStream<RoomEvent | Gap> {
    return new EventStream<RoomEvent | Gap>((stream) => {
      const push = (item: RoomEvent | Gap) => stream.push(item);
      const subscription = this.#join(options, {}, { onEvent: push, onGap: push });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, options.signal);
  }

  /** Publishes an event, which is stored once the promise resolves. A retry does not store it twice. */
  publish(
    event: PublishedEventInput,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<PublishedEvent> {
    return publishEvent(this.#edge, this.name, event, { retry: "safe", signal });
  }

  /** Returns one page of the events after `since`, oldest first. */
  async history({ since, limit, signal }: HistoryOptions = {}): Promise<HistoryPage> {
    const call = { path: `${this.#path}/history`, query: { since, limit }, signal };
    return pageOf(await this.#edge.http.call(call, historySchema));
  }

  /** Returns the users who follow the room now. */
  presence({ signal }: { signal?: AbortSignal } = {}): Promise<RoomPresence> {
    return this.#edge.http.call({ path: `${this.#path}/presence`, signal }, presenceResource);
  }

  #join(
    options: SubscribeOptions,
    linkHandlers: LinkHandlers,
    eventHandlers: RoomEventHandlers,
  ): Subscription {
    const subscription = new OpenSubscription(this.#edge, {
      onLink: (state, error) => linkHandlers.onLink?.(state, error),
      onError: (error) => linkHandlers.onError?.(error),
    });
    const { since, filter = null, fillGaps } = options;
    const history = fillGaps ? (since: string) => this.history({ since, limit: 1_000 }) : null;
    const subscriber = new RoomSubscriber(subscription, { since, filter, history }, eventHandlers);
    this.#gateway.join(this.name, subscriber);
    subscription.onStop(() => this.#gateway.leave(this.name, subscriber));
    return subscription;
  }

  get #path(): string {
    return `/api/rooms/${segment(this.name)}`;
  }
}
