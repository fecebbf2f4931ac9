import { performance } from "node:perf_hooks";
import { WebSocket } from "ws";
import { sharedNow } from "../clock.ts";
import {
  addressOf,
  type Handshake,
  handshakeOf,
  markerOf,
  type RoomEndpoint,
} from "./room-endpoint.ts";

/** Packets of Engine.IO, below Socket.IO: the server's ping, and the client's answer. */
const PING = "2";
const PONG = "3";

interface EventSubscriberOptions {
  endpoint: RoomEndpoint;
  user: string;
  /** Is called for every event, in the order in which they arrive. */
  onEvent: (number: number, now: number) => void;
}

/**
 * Follows the room and reads nothing of an event but its number. Each number must be the last one
 * plus 1: a gap or a repetition throws, which ends the program and fails the subject's turn.
 */
export class EventSubscriber {
  /** The number of the latest event, and when it arrived. */
  last = 0;
  lastAt = 0;
  /** Milliseconds from the first byte sent until the server reported the client as connected. */
  connectMs = 0;
  private readonly options: EventSubscriberOptions;
  private readonly marker: Buffer;
  private readonly handshake: Handshake;
  private readonly startedAt = performance.now();
  private readonly joined = Promise.withResolvers<void>();
  private readonly socket: WebSocket;
  private step = 0;

  private constructor(
    options: EventSubscriberOptions,
    address: Awaited<ReturnType<typeof addressOf>>,
  ) {
    this.options = options;
    this.marker = markerOf(options.endpoint);
    this.handshake = handshakeOf(options.endpoint);
    const { url, headers } = address;
    this.socket = new WebSocket(url, {
      headers,
      perMessageDeflate: false,
      skipUTF8Validation: true,
    });
    this.socket.on("open", () => this.advance());
    this.socket.on("message", (data) => this.onMessage(data as Buffer));
    this.socket.on("close", (code, reason) => {
      throw new Error(`A subscriber's socket was closed: ${code} ${reason}`);
    });
  }

  /** Resolves once every event that is published from now on will arrive. */
  static async join(options: EventSubscriberOptions): Promise<EventSubscriber> {
    // A real client has its token before it connects, so signing it is not measured.
    const subscriber = new EventSubscriber(
      options,
      await addressOf(options.endpoint, options.user),
    );
    await subscriber.joined.promise;
    return subscriber;
  }

  send(text: string): void {
    this.socket.send(text);
  }

  private onMessage(data: Buffer): void {
    if (this.step < this.handshake.steps.length) {
      this.onHandshakeMessage(data);
      return;
    }
    let found = data.indexOf(this.marker);
    if (found < 0) {
      this.onOtherMessage(String(data));
      return;
    }
    const now = sharedNow();
    for (; found >= 0; found = data.indexOf(this.marker, found)) {
      found += this.marker.length;
      const number = numberAt(data, found);
      if (number !== this.last + 1) throw new Error(`After event ${this.last} came ${number}`);
      this.last = number;
      this.lastAt = now;
      this.options.onEvent(number, now);
    }
  }

  private onHandshakeMessage(data: Buffer): void {
    const text = String(data);
    const { steps, ignored } = this.handshake;
    const { expect, reply } = steps[this.step] ?? { expect: "" };
    if (!text.startsWith(expect)) {
      if (ignored !== undefined && text.startsWith(ignored)) return;
      throw new Error(`${expect} was expected, not ${text}`);
    }
    const found = data.indexOf(this.marker);
    if (found >= 0) this.last = numberAt(data, found + this.marker.length);
    this.step += 1;
    this.advance();
    if (reply !== undefined) this.send(reply);
  }

  private advance(): void {
    const { steps, connectedAfter } = this.handshake;
    if (this.step === connectedAfter) this.connectMs = performance.now() - this.startedAt;
    if (this.step === steps.length) this.joined.resolve();
  }

  private onOtherMessage(text: string): void {
    if (text.startsWith('{"type":"read_check"')) {
      this.send(text);
      return;
    }
    // Dialout announces large messages (C17).
    if (text.startsWith('{"type":"sending"')) return;
    if (this.options.endpoint.kind !== "socketio" || text !== PING)
      throw new Error(`Unexpected: ${text}`);
    this.send(PONG);
  }
}

/** Parses the decimal number whose digits begin at byte `at`. */
function numberAt(data: Buffer, at: number): number {
  let number = 0;
  for (let index = at; ; index += 1) {
    const digit = (data[index] ?? 0) - 48;
    if (digit < 0 || digit > 9) return number;
    number = number * 10 + digit;
  }
}
