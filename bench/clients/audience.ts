import process from "node:process";
import { inParallel } from "./in-parallel.ts";
import { Subscriber } from "./subscriber.ts";
import type { Wire } from "./wires.ts";

export interface Gathering {
  wire: Wire;
  count: number;
  atOnce: number;
  /** How many users they are; as many as sockets if not given. */
  users?: number;
}

/** On the clock all programs share. */
export interface Span {
  from: number;
  until: number;
}

/** Those who follow the room in one program. */
export class Audience {
  private readonly subscribers: Subscriber[] = [];
  private span: Span = { from: 0, until: 0 };
  private counted = 0;
  private awaited: { number: number; left: number; all: () => void } | null = null;

  /** Adds subscribers; how long each took to connect, milliseconds. */
  async gather({ wire, count, atOnce, users }: Gathering): Promise<number[]> {
    const joined: Subscriber[] = [];
    const onEvent = (number: number, now: number) => this.heard(number, now);
    let next = this.subscribers.length;
    const end = next + count;
    await inParallel(atOnce, async () => {
      while (next < end) {
        const user = `${process.pid}-${users === undefined ? next : next % users}`;
        next += 1;
        joined.push(await Subscriber.join({ wire, user, onEvent }));
      }
    });
    this.subscribers.push(...joined);
    return joined.map(({ connectMs }) => connectMs);
  }

  /** Counts what comes within the span from now on. */
  watch(span: Span): void {
    this.span = span;
    this.counted = 0;
  }

  /** Resolves once everyone has the event, with the deliveries within the span. */
  async delivered(number: number): Promise<number> {
    await this.all(number);
    return this.counted;
  }

  /** When each got the event, the latest there is. */
  async arrivals(number: number): Promise<number[]> {
    await this.all(number);
    return this.subscribers.map(({ lastAt }) => lastAt);
  }

  private all(number: number): Promise<void> {
    const left = this.subscribers.filter(({ last }) => last < number).length;
    return new Promise((all) => {
      if (left === 0) all();
      else this.awaited = { number, left, all };
    });
  }

  private heard(number: number, now: number): void {
    if (now >= this.span.from && now < this.span.until) this.counted += 1;
    const { awaited } = this;
    if (awaited?.number !== number) return;
    awaited.left -= 1;
    if (awaited.left === 0) awaited.all();
  }
}
