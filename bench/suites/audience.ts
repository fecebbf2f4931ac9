import type { ChildProgram } from "../child-program.ts";
import type { TimeSpan } from "../clients/subscriber-group.ts";
import type { PublisherCalls } from "../programs/publisher.ts";
import type { SubscribersCalls } from "../programs/subscribers.ts";
import type { Sandbox } from "../sandbox.ts";
import type { RoomServer } from "./room-server.ts";

/** The subscribers are spread over this many programs: a single one would be the bottleneck. */
const PROGRAMS = 2;
/** Sockets that are opened at the same time. */
const OPENING_AT_ONCE = 50;
/** A subscriber may take this long to join, on the average. */
const JOIN_MS = 20;

/** When one event was sent, and when each subscriber received it. */
export interface EventTimes {
  sentAt: number;
  arrivals: number[];
}

/** All subscribers of a server's room, and the program that publishes to it. */
export class Audience {
  private readonly server: RoomServer;
  /** Users in each program; without it every subscriber is another user. */
  private readonly users: number | undefined;
  private readonly programs: ChildProgram<SubscribersCalls>[];
  private readonly publisher: ChildProgram<PublisherCalls>;

  constructor(sandbox: Sandbox, server: RoomServer, users?: number) {
    this.server = server;
    this.users = users === undefined ? undefined : users / PROGRAMS;
    this.programs = Array.from({ length: PROGRAMS }, () => {
      return sandbox.launch<SubscribersCalls>("subscribers.ts");
    });
    this.publisher = sandbox.launch<PublisherCalls>("publisher.ts");
  }

  /** Adds subscribers; returns how many milliseconds each took to connect. */
  async addSubscribers(count: number): Promise<number[]> {
    const { users, server } = this;
    const share = { count: count / PROGRAMS, concurrency: OPENING_AT_ONCE / PROGRAMS };
    const added = { endpoint: server.endpoint, users, ...share };
    const took = this.programs.map((program) =>
      program.call("addSubscribers", added, count * JOIN_MS),
    );
    return (await Promise.all(took)).flat();
  }

  /** Adds subscribers one after another; returns how many milliseconds each took to connect. */
  async addSubscribersOneByOne(count: number): Promise<number[]> {
    const { programs, users, server } = this;
    const added = { endpoint: server.endpoint, users, count, concurrency: 1 };
    return (await programs[0]?.call("addSubscribers", added, count * JOIN_MS)) ?? [];
  }

  async connectPublisher(): Promise<void> {
    await this.publisher.call("connect", this.server.endpoint);
  }

  /** Keeps `inFlight` events in flight until the span is over; returns the deliveries within it. */
  async publishDuring(inFlight: number, span: TimeSpan, expectedMs: number): Promise<number> {
    await Promise.all(this.programs.map((program) => program.call("countDeliveries", span)));
    const { until } = span;
    const last = await this.publisher.call("publishUntil", { inFlight, until }, expectedMs);
    const counts = await Promise.all(
      this.programs.map((program) => program.call("getDeliveries", last)),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async publishOne(): Promise<EventTimes> {
    const { number, sentAt } = await this.publisher.call("publishOne", undefined);
    const arrivals = await Promise.all(
      this.programs.map((program) => program.call("getArrivals", number)),
    );
    return { sentAt, arrivals: arrivals.flat() };
  }
}

/** Milliseconds from sending the event until the last subscriber received it. */
export function msUntilLast({ sentAt, arrivals }: EventTimes): number {
  return arrivals.reduce((latest, at) => Math.max(latest, at), 0) - sentAt;
}
