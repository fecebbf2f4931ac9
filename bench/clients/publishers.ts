import type { WebSocket } from "ws";
import { EventSubscriber } from "./event-subscriber.ts";
import { addressOf, ROOM, type RoomEndpoint, TEXT } from "./room-endpoint.ts";
import { openSocket } from "./socket.ts";

const PUBLISHER_USER = "publisher";

/**
 * Publishes to the room and follows it too. An event counts as done when it has come back, so that
 * no server can accept more events than it delivers.
 */
export interface RoomPublisher {
  /** Resolves with the event's number once it has come back. */
  publish(): Promise<number>;
}

export function openPublisher(endpoint: RoomEndpoint): Promise<RoomPublisher> {
  if (endpoint.kind === "gateway" || endpoint.kind === "room") {
    return EdgePublisher.open({ ...endpoint, kind: "gateway" });
  }
  return PlainPublisher.open(endpoint);
}

/** Lets callers wait until the event with a number has come back. Events arrive in order. */
class ReturnedEvents {
  private readonly waiting = new Map<number, () => void>();
  private last = 0;

  onEvent(number: number): void {
    this.last = number;
    this.waiting.get(number)?.();
    this.waiting.delete(number);
  }

  waitFor(number: number): Promise<void> {
    if (number <= this.last) return Promise.resolve();
    return new Promise((resolve) => this.waiting.set(number, resolve));
  }
}

/** For servers that pass events on as they are: it numbers its events itself. */
class PlainPublisher implements RoomPublisher {
  private readonly returned = new ReturnedEvents();
  private readonly endpoint: RoomEndpoint;
  private subscriber: EventSubscriber | null = null;
  private last = 0;

  private constructor(endpoint: RoomEndpoint) {
    this.endpoint = endpoint;
  }

  static async open(endpoint: RoomEndpoint): Promise<PlainPublisher> {
    const publisher = new PlainPublisher(endpoint);
    const onEvent = (number: number) => publisher.returned.onEvent(number);
    publisher.subscriber = await EventSubscriber.join({ endpoint, user: PUBLISHER_USER, onEvent });
    return publisher;
  }

  async publish(): Promise<number> {
    this.last += 1;
    const number = this.last;
    const event = JSON.stringify({ seq: number, text: TEXT });
    const frame = this.endpoint.kind === "socketio" ? `42["publish",${event}]` : event;
    this.subscriber?.send(frame);
    await this.returned.waitFor(number);
    return number;
  }
}

type EdgeEndpoint = Extract<RoomEndpoint, { secret: string }>;

/** Sockets that are used in turn: the edge limits the frames a second on one socket (R14). */
const SOCKETS = 64;

/** Publishes on `/ws`. The edge numbers events; its `published` frame has the number. */
class EdgePublisher implements RoomPublisher {
  private readonly returned = new ReturnedEvents();
  private readonly answers = new Map<number, (offset: number) => void>();
  private sockets: WebSocket[] = [];
  private sent = 0;

  static async open(endpoint: EdgeEndpoint): Promise<EdgePublisher> {
    const publisher = new EdgePublisher();
    const onEvent = (number: number) => publisher.returned.onEvent(number);
    await EventSubscriber.join({ endpoint, user: PUBLISHER_USER, onEvent });
    const { url, headers } = await addressOf({ ...endpoint, batch: false }, PUBLISHER_USER, true);
    const opening = Array.from({ length: SOCKETS }, () => publisher.connect(url, headers));
    publisher.sockets = await Promise.all(opening);
    return publisher;
  }

  async publish(): Promise<number> {
    this.sent += 1;
    const ref = this.sent;
    const event = { type: "bench.event", data: { text: TEXT } };
    const answered = new Promise<number>((resolve) => this.answers.set(ref, resolve));
    this.sockets[ref % SOCKETS]?.send(JSON.stringify({ type: "publish", room: ROOM, event, ref }));
    const offset = await answered;
    await this.returned.waitFor(offset);
    return offset;
  }

  private async connect(url: string, headers: Record<string, string>): Promise<WebSocket> {
    const established = Promise.withResolvers<void>();
    const socket = await openSocket(
      url,
      ({ type, ref = 0, offset = 0, code, message }) => {
        if (type === "connection.established") established.resolve();
        else if (type === "published") {
          this.answers.get(ref)?.(offset);
          this.answers.delete(ref);
        } else if (type !== "subscribed") throw new Error(`${type}: ${code} ${message}`);
      },
      headers,
    );
    await established.promise;
    return socket;
  }
}
