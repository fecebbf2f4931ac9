import type { WebSocket } from "ws";
import { openSocket } from "./socket.ts";
import { Subscriber } from "./subscriber.ts";
import { addressOf, ROOM, TEXT, type Wire } from "./wires.ts";

const NAME = "publisher";

/**
 * Publishes, and follows the room too: an event is over when it has come back, so that no server can
 * take more than it passes on.
 */
export interface Publisher {
  /** Resolves with the event's number. */
  publish(): Promise<number>;
}

export function openPublisher(wire: Wire): Promise<Publisher> {
  if (wire.kind === "gateway" || wire.kind === "room") {
    return EdgePublisher.open({ ...wire, kind: "gateway" });
  }
  return PlainPublisher.open(wire);
}

/** Resolves what waits for events, as they come in order. */
class Returns {
  private readonly waiting = new Map<number, () => void>();
  private head = 0;

  came(number: number): void {
    this.head = number;
    this.waiting.get(number)?.();
    this.waiting.delete(number);
  }

  until(number: number): Promise<void> {
    if (number <= this.head) return Promise.resolve();
    return new Promise((resolve) => this.waiting.set(number, resolve));
  }
}

/** Numbers its events itself. */
class PlainPublisher implements Publisher {
  private readonly returns = new Returns();
  private readonly wire: Wire;
  private subscriber: Subscriber | null = null;
  private last = 0;

  private constructor(wire: Wire) {
    this.wire = wire;
  }

  static async open(wire: Wire): Promise<PlainPublisher> {
    const publisher = new PlainPublisher(wire);
    const onEvent = (number: number) => publisher.returns.came(number);
    publisher.subscriber = await Subscriber.join({ wire, user: NAME, onEvent });
    return publisher;
  }

  async publish(): Promise<number> {
    this.last += 1;
    const number = this.last;
    const event = JSON.stringify({ seq: number, text: TEXT });
    const frame = this.wire.kind === "socketio" ? `42["publish",${event}]` : event;
    this.subscriber?.send(frame);
    await this.returns.until(number);
    return number;
  }
}

type EdgeWire = Extract<Wire, { secret: string }>;

/** Sockets in turn: the edge cuts off who sends more frames than anybody would over one. */
const SOCKETS = 64;

/** Publishes on `/ws`; the edge numbers events, and says which number each has. */
class EdgePublisher implements Publisher {
  private readonly returns = new Returns();
  private readonly answers = new Map<number, (offset: number) => void>();
  private sockets: WebSocket[] = [];
  private sent = 0;

  static async open(wire: EdgeWire): Promise<EdgePublisher> {
    const publisher = new EdgePublisher();
    const onEvent = (number: number) => publisher.returns.came(number);
    await Subscriber.join({ wire, user: NAME, onEvent });
    const { url, headers } = await addressOf({ ...wire, batch: false }, NAME, true);
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
    await this.returns.until(offset);
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
