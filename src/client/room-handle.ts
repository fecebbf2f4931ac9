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
  /** The `position` of the last event that was seen; without it the next event is the first. */
  since?: string;
  filter?: EventFilter;
  /** Reads events that were lost on the way from the room's history, as far as that has them. */
  fillGaps?: boolean;
  signal?: AbortSignal;
}

export interface RoomHandlers extends SubscribeOptions, LinkHandlers {
  onEvent?(event: RoomEvent): void;
  /** Events are lost: they came while the socket was away, and the room no longer has them. */
  onGap?(gap: Gap): void;
  /** Who comes and goes. */
  onPresence?(presence: Presence): void;
}

export interface HistoryOptions {
  since?: string;
  /** Events a page has at most, up to 1,000. */
  limit?: number;
  signal?: AbortSignal;
}

/** A published event with its place in the room; `repeated`: its id was there before, and this is that one's place. */
export type PublishedEvent = PublishedResource;
export type RoomPresence = z.infer<typeof presenceResource>;

/** Publishes with an id, so that it can be sent again and is one event. */
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

/** A room, by its name: nothing is asked or opened before a method is called. */
export class RoomHandle {
  readonly name: string;
  readonly #edge: Edge;
  readonly #gateway: Gateway;

  constructor(edge: Edge, gateway: Gateway, name: string) {
    this.#edge = edge;
    this.#gateway = gateway;
    this.name = name;
  }

  /** Tells the room's events as they come; all rooms of a client share one socket. */
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

  /** The room's events, and where some are lost a `gap` in their place. */
  events(options: SubscribeOptions = {}): EventStream<RoomEvent | Gap> {
    return new EventStream<RoomEvent | Gap>((stream) => {
      const push = (item: RoomEvent | Gap) => stream.push(item);
      const subscription = this.#join(options, {}, { onEvent: push, onGap: push });
      void subscription.closed.then((error) => (error ? stream.fail(error) : stream.end()));
      return () => subscription.close();
    }, options.signal);
  }

  /** Stored once this resolves; sent again after a broken connection, it is one event. */
  publish(
    event: PublishedEventInput,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<PublishedEvent> {
    return publishEvent(this.#edge, this.name, event, { retry: "safe", signal });
  }

  /** The events after `since`, oldest first: a page of them. */
  async history({ since, limit, signal }: HistoryOptions = {}): Promise<HistoryPage> {
    const call = { path: `${this.#path}/history`, query: { since, limit }, signal };
    return pageOf(await this.#edge.http.call(call, historySchema));
  }

  /** Who follows the room now. */
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
