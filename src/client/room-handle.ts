import type { z } from "zod";
import type { Position } from "../channel/position.ts";
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
import type { HistoryPage, RoomEvent } from "./room-events.ts";
import { type HistoryOptions, type HistoryRange, RoomHistory } from "./room-history.ts";
import {
  type Presence,
  type RoomEventHandlers,
  RoomSubscriber,
  type SubscriberOptions,
} from "./room-subscriber.ts";
import { type RoomUser, RoomUsers } from "./room-users.ts";
import type { SendOptions } from "./sending.ts";
import {
  callHandler,
  closeOn,
  type LinkHandlers,
  OpenSubscription,
  type Subscription,
} from "./subscription.ts";

export interface SubscribeOptions {
  /** The `position` of the last event received. Without it, following starts with the next event. */
  since?: string;
  /** Starts with this many of the newest events (that pass the filter), oldest first, unless `since` is given. */
  last?: number;
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

export interface PresenceHandlers extends LinkHandlers {
  /** The users who are in the room: called once they are known, and on every change. */
  onUsers?(users: readonly RoomUser[]): void;
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
  options: SendOptions & { retry: "safe" | "patient" },
): Promise<PublishedEvent> {
  const path = `/api/rooms/${segment(room)}/events`;
  const body = { ...event, id: event.id ?? freshId() };
  return edge.http.call({ ...options, method: "POST", path, body }, publishedResource);
}

/** Refers to a room by its name; sends nothing until a method is called. */
export class RoomHandle {
  readonly name: string;
  readonly #edge: Edge;
  readonly #gateway: Gateway;
  readonly #history: RoomHistory;

  constructor(edge: Edge, gateway: Gateway, name: string) {
    this.#edge = edge;
    this.#gateway = gateway;
    this.name = name;
    this.#history = new RoomHistory(edge, name);
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
  publish(event: PublishedEventInput, options: SendOptions = {}): Promise<PublishedEvent> {
    return publishEvent(this.#edge, this.name, event, { ...options, retry: "safe" });
  }

  /** Returns one page of the room's stored events; without options the oldest ones. */
  history(options: HistoryOptions = {}): Promise<HistoryPage> {
    return this.#history.page(options);
  }

  /** All of the room's stored events in a range, read page by page, with a `gap` in the place of lost ones. */
  pastEvents(range: HistoryRange = {}): AsyncGenerator<RoomEvent | Gap, void, undefined> {
    return this.#history.events(range);
  }

  /** Returns the users who are in the room now. */
  async presence(options: SendOptions = {}): Promise<RoomPresence> {
    const path = `/api/rooms/${segment(this.name)}/presence`;
    const first = await this.#edge.http.call({ ...options, path }, presenceResource);
    const { next: _, ...whole } = first;
    const users = new Map(first.users.map((user) => [user.user_id, user]));
    for (let { next } = first; next !== undefined; ) {
      const call = { ...options, path, query: { after: next } };
      const answer = await this.#edge.http.call(call, presenceResource);
      for (const user of answer.users) users.set(user.user_id, user);
      next = answer.next;
    }
    return { ...whole, users: [...users.values()] };
  }

  /** Calls `onUsers` with the users who are in the room, now and on every change. */
  watchPresence(handlers: PresenceHandlers): Subscription {
    const stopped = new AbortController();
    const users = new RoomUsers({
      fetch: () => this.presence({ signal: stopped.signal }),
      onUsers: (list) => callHandler(() => handlers.onUsers?.(list)),
      onError: (error) => subscription.finish(error),
    });
    const subscription = this.#follow(
      {
        onLink: (state, error) => {
          if (state === "open") void users.refresh();
          handlers.onLink?.(state, error);
        },
        onError: (error) => handlers.onError?.(error),
      },
      { since: undefined, filter: null, history: null, wantsEvents: false },
      {
        onEvent: () => undefined,
        onGap: () => undefined,
        onPresence: (presence) => users.onPresence(presence),
      },
      () => {
        users.stop();
        stopped.abort();
      },
    );
    closeOn(handlers.signal, subscription);
    return subscription;
  }

  #join(
    options: SubscribeOptions,
    linkHandlers: LinkHandlers,
    eventHandlers: RoomEventHandlers,
  ): Subscription {
    const { since, last, filter, fillGaps } = options;
    const stopped = new AbortController();
    const { signal } = stopped;
    const history = (since: string) => this.history({ since, limit: 1_000, signal });
    const past = (end: Position) => this.#history.endingAt(end, last ?? 0, { filter, signal });
    return this.#follow(
      linkHandlers,
      {
        since,
        filter: filter ?? null,
        history: fillGaps ? history : null,
        past: last === undefined || last < 1 ? undefined : past,
      },
      eventHandlers,
      () => stopped.abort(),
    );
  }

  #follow(
    linkHandlers: LinkHandlers,
    options: SubscriberOptions,
    eventHandlers: RoomEventHandlers,
    onStop: () => void,
  ): OpenSubscription {
    const subscription = new OpenSubscription(this.#edge, {
      onLink: (state, error) => linkHandlers.onLink?.(state, error),
      onError: (error) => linkHandlers.onError?.(error),
    });
    const subscriber = new RoomSubscriber(subscription, options, eventHandlers);
    this.#gateway.join(this.name, subscriber);
    subscription.onStop(() => {
      onStop();
      this.#gateway.leave(this.name, subscriber);
    });
    return subscription;
  }
}
