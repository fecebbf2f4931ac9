import type { Span } from "../clients/audience.ts";
import type { Program } from "../program.ts";
import type { PublisherCalls } from "../programs/publisher.ts";
import type { SubscribersCalls } from "../programs/subscribers.ts";
import type { Stage } from "../stage.ts";
import type { Venue } from "./venue.ts";

/** Programs that share the subscribers: one would be what is measured. */
const PROGRAMS = 2;
/** Sockets that are on their way to be open at any time. */
const AT_ONCE = 50;
/** The longest that one subscriber may take to join. */
const JOIN_MS = 20;

/** A lone event: when it was sent, and when each subscriber had it. */
export interface Lone {
  sentAt: number;
  arrivals: number[];
}

/** The subscribers of a venue's room, and who publishes to it. */
export class Crowd {
  private readonly venue: Venue;
  /** Of each program; as many as subscribers if not given. */
  private readonly users: number | undefined;
  private readonly programs: Program<SubscribersCalls>[];
  private readonly publisher: Program<PublisherCalls>;

  constructor(stage: Stage, venue: Venue, users?: number) {
    this.venue = venue;
    this.users = users === undefined ? undefined : users / PROGRAMS;
    this.programs = Array.from({ length: PROGRAMS }, () => {
      return stage.launch<SubscribersCalls>("subscribers.ts");
    });
    this.publisher = stage.launch<PublisherCalls>("publisher.ts");
  }

  /** Adds subscribers; how long each took to connect, milliseconds. */
  async gather(count: number): Promise<number[]> {
    const { users, venue } = this;
    const share = { count: count / PROGRAMS, atOnce: AT_ONCE / PROGRAMS };
    const gathering = { wire: venue.wire, users, ...share };
    const took = this.programs.map((one) => one.call("gather", gathering, count * JOIN_MS));
    return (await Promise.all(took)).flat();
  }

  /** Adds subscribers one after another; how long each took to connect, milliseconds. */
  async gatherAlone(count: number): Promise<number[]> {
    const { programs, users, venue } = this;
    const gathering = { wire: venue.wire, users, count, atOnce: 1 };
    return (await programs[0]?.call("gather", gathering, count * JOIN_MS)) ?? [];
  }

  async connectPublisher(): Promise<void> {
    await this.publisher.call("connect", this.venue.wire);
  }

  /** Keeps so many events in flight until the span is over; the deliveries that were made within it. */
  async flood(inFlight: number, span: Span, expectedMs: number): Promise<number> {
    await Promise.all(this.programs.map((one) => one.call("watch", span)));
    const { until } = span;
    const last = await this.publisher.call("flood", { inFlight, until }, expectedMs);
    const counts = await Promise.all(this.programs.map((one) => one.call("delivered", last)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async lone(): Promise<Lone> {
    const { number, sentAt } = await this.publisher.call("one", undefined);
    const arrivals = await Promise.all(this.programs.map((one) => one.call("arrivals", number)));
    return { sentAt, arrivals: arrivals.flat() };
  }
}

/** Milliseconds until the last had it. */
export function untilLast({ sentAt, arrivals }: Lone): number {
  return arrivals.reduce((latest, at) => Math.max(latest, at), 0) - sentAt;
}
