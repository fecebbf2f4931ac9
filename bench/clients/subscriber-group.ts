import process from "node:process";
import { EventSubscriber } from "./event-subscriber.ts";
import { inParallel } from "./in-parallel.ts";
import type { RoomEndpoint } from "./room-endpoint.ts";

export interface NewSubscribers {
  endpoint: RoomEndpoint;
  count: number;
  concurrency: number;
  /** The number of users that share the sockets; without it every socket is another user's. */
  users?: number;
}

/** Milliseconds on the clock that all programs share (`sharedNow`). */
export interface TimeSpan {
  from: number;
  until: number;
}

/** The subscribers that run in one program. */
export class SubscriberGroup {
  private readonly subscribers: EventSubscriber[] = [];
  private span: TimeSpan = { from: 0, until: 0 };
  private deliveries = 0;
  private awaited: { number: number; missing: number; resolve: () => void } | null = null;

  /** Adds subscribers; returns how many milliseconds each took to connect. */
  async addSubscribers({ endpoint, count, concurrency, users }: NewSubscribers): Promise<number[]> {
    const joined: EventSubscriber[] = [];
    const onEvent = (number: number, now: number) => this.onEvent(number, now);
    let next = this.subscribers.length;
    const end = next + count;
    await inParallel(concurrency, async () => {
      while (next < end) {
        const user = `${process.pid}-${users === undefined ? next : next % users}`;
        next += 1;
        joined.push(await EventSubscriber.join({ endpoint, user, onEvent }));
      }
    });
    this.subscribers.push(...joined);
    return joined.map(({ connectMs }) => connectMs);
  }

  /** Counts the deliveries within the span, from 0 again. */
  countDeliveries(span: TimeSpan): void {
    this.span = span;
    this.deliveries = 0;
  }

  /** Waits until every subscriber has the event; returns the deliveries within the span. */
  async getDeliveries(number: number): Promise<number> {
    await this.waitForAll(number);
    return this.deliveries;
  }

  /** Waits until every subscriber has the event, which is the latest; returns when each received it. */
  async getArrivals(number: number): Promise<number[]> {
    await this.waitForAll(number);
    return this.subscribers.map(({ lastAt }) => lastAt);
  }

  private waitForAll(number: number): Promise<void> {
    const missing = this.subscribers.filter(({ last }) => last < number).length;
    return new Promise((resolve) => {
      if (missing === 0) resolve();
      else this.awaited = { number, missing, resolve };
    });
  }

  private onEvent(number: number, now: number): void {
    if (now >= this.span.from && now < this.span.until) this.deliveries += 1;
    const { awaited } = this;
    if (awaited?.number !== number) return;
    awaited.missing -= 1;
    if (awaited.missing === 0) awaited.resolve();
  }
}
