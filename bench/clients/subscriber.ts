import { performance } from "node:perf_hooks";
import { WebSocket } from "ws";
import { sharedNow } from "../clock.ts";
import { addressOf, type Greeting, greetingOf, markerOf, type Wire } from "./wires.ts";

/** Socket.IO's own ping, and the answer to it. */
const PING = "2";
const PONG = "3";

interface Parts {
  wire: Wire;
  user: string;
  /** Told of every event, in the order they came. */
  onEvent: (number: number, now: number) => void;
}

/**
 * One who follows the room and reads no more of an event than its number. Numbers have neither gap nor
 * double: where one is wrong the program ends, and with it the subject's turn.
 */
export class Subscriber {
  /** The latest event's number, and when it came. */
  last = 0;
  lastAt = 0;
  /** From the first byte sent until the server said that it is there, milliseconds. */
  connectMs = 0;
  private readonly parts: Parts;
  private readonly marker: Buffer;
  private readonly greeting: Greeting;
  private readonly startedAt = performance.now();
  private readonly joined = Promise.withResolvers<void>();
  private readonly socket: WebSocket;
  private step = 0;

  private constructor(parts: Parts, address: Awaited<ReturnType<typeof addressOf>>) {
    this.parts = parts;
    this.marker = markerOf(parts.wire);
    this.greeting = greetingOf(parts.wire);
    const { url, headers } = address;
    const options = { headers, perMessageDeflate: false, skipUTF8Validation: true };
    this.socket = new WebSocket(url, options);
    this.socket.on("open", () => this.reached());
    this.socket.on("message", (data) => this.hear(data as Buffer));
    this.socket.on("close", (code, reason) => {
      throw new Error(`A subscriber's socket was closed: ${code} ${reason}`);
    });
  }

  /** Resolves once every event that is published from now on will come. */
  static async join(parts: Parts): Promise<Subscriber> {
    // A token is the client's before it connects: signing it is no part of the time.
    const subscriber = new Subscriber(parts, await addressOf(parts.wire, parts.user));
    await subscriber.joined.promise;
    return subscriber;
  }

  send(text: string): void {
    this.socket.send(text);
  }

  private hear(data: Buffer): void {
    if (this.step < this.greeting.steps.length) {
      this.greet(data);
      return;
    }
    let found = data.indexOf(this.marker);
    if (found < 0) {
      this.hearOther(String(data));
      return;
    }
    const now = sharedNow();
    for (; found >= 0; found = data.indexOf(this.marker, found)) {
      found += this.marker.length;
      const number = numberAt(data, found);
      if (number !== this.last + 1) throw new Error(`After event ${this.last} came ${number}`);
      this.last = number;
      this.lastAt = now;
      this.parts.onEvent(number, now);
    }
  }

  private greet(data: Buffer): void {
    const text = String(data);
    const { steps, between } = this.greeting;
    const { expect, say } = steps[this.step] ?? { expect: "" };
    if (!text.startsWith(expect)) {
      if (between !== undefined && text.startsWith(between)) return;
      throw new Error(`${expect} was expected, not ${text}`);
    }
    const found = data.indexOf(this.marker);
    if (found >= 0) this.last = numberAt(data, found + this.marker.length);
    this.step += 1;
    this.reached();
    if (say !== undefined) this.send(say);
  }

  private reached(): void {
    const { steps, connectedAfter } = this.greeting;
    if (this.step === connectedAfter) this.connectMs = performance.now() - this.startedAt;
    if (this.step === steps.length) this.joined.resolve();
  }

  private hearOther(text: string): void {
    if (this.parts.wire.kind !== "socketio" || text !== PING)
      throw new Error(`Unexpected: ${text}`);
    this.send(PONG);
  }
}

/** The digits at `at`, as a number. */
function numberAt(data: Buffer, at: number): number {
  let number = 0;
  for (let index = at; ; index += 1) {
    const digit = (data[index] ?? 0) - 48;
    if (digit < 0 || digit > 9) return number;
    number = number * 10 + digit;
  }
}
