import { evictAllDurableObjects, evictDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  expireEvents,
  freshRoom,
  gateways,
  neighbourOf,
  objectOf,
  publish,
  roomOf,
  userToken,
} from "./rooms-support.ts";
import { type Frame, TestSocket } from "./support.ts";

type RoomStep =
  | { type: "publish"; count: number }
  /** Every follower reads up to the newest event. */
  | { type: "read" }
  /** The latest event is published again under its id. */
  | { type: "repeat" }
  | { type: "subscribe"; follower: number; over: "gateway" | "room"; resume: boolean }
  | { type: "drop"; follower: number }
  | { type: "trim" }
  /** Objects are evicted from memory and keep their sockets. */
  | { type: "hibernate"; objects: "room" | "gateways" | "all" }
  /** All objects are evicted from memory and lose their sockets. */
  | { type: "restart" };

const FOLLOWERS = 3;
const follower = fc.nat(FOLLOWERS - 1);
const step: fc.Arbitrary<RoomStep> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant("publish"), count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("read") }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("repeat") }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("subscribe"),
      follower,
      over: fc.constantFrom("gateway", "room"),
      resume: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("drop"), follower }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("trim") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("hibernate"),
      objects: fc.constantFrom("room", "gateways", "all"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("restart") }) },
) as fc.Arbitrary<RoomStep>;

/** A client that subscribes to the room and checks each event that it gets. */
class CheckedSubscriber {
  socket: TestSocket | null = null;
  private position: { epoch: string; offset: number } | null = null;
  private room = "";

  async connect(room: string, over: "gateway" | "room", resume: boolean): Promise<void> {
    this.drop();
    this.room = room;
    const token = await userToken("follower", { rooms: ["*"] });
    const since =
      resume && this.position ? `${this.position.epoch}:${this.position.offset}` : undefined;
    const path = over === "gateway" ? "/ws" : `/api/rooms/${room}/ws`;
    const query = over === "room" && since ? `&since=${since}` : "";
    this.socket = await TestSocket.open(`${path}?token=${token}${query}`);
    if (over === "gateway") {
      await inTime(this.socket.next("connection.established"), "of a connection");
      this.socket.send({ type: "subscribe", room, ...(since ? { since } : {}) });
    }
    const isBegin = (frame: Frame) =>
      frame.room === room && (frame.type === "subscribed" || frame.type === "connection");
    const begin = await inTime(this.socket.next(isBegin), "of a subscription");
    this.startAt(begin, since !== undefined);
  }

  drop(): void {
    this.socket?.close();
    this.socket = null;
  }

  /** Reads up to offset `last`. Each event must follow the one before, unless a `subscribed` reports a gap. */
  async readTo(last: number, numbers: ReadonlyMap<number, number>): Promise<void> {
    while (this.socket && this.position && this.position.offset < last) {
      const wanted = ({ type, room }: Frame) =>
        room === this.room && (type === "subscribed" || type === "step.done");
      const frame = await inTime(
        this.socket.next(wanted),
        `after ${this.position.offset} of ${last}`,
      );
      if (frame.type === "subscribed") this.startAt(frame, false);
      else {
        expect(frame.offset).toBe(this.position.offset + 1);
        expect((frame.data as { n: number }).n).toBe(numbers.get(this.position.offset + 1));
        this.position.offset += 1;
      }
    }
  }

  /** With `recovered` it goes on from its position; otherwise it gets a new one, which is never an older one. */
  private startAt(frame: Frame, resumed: boolean): void {
    const epoch = frame.epoch as string;
    const offset = frame.offset as number;
    if (frame.recovered) {
      expect(resumed).toBe(true);
      expect({ epoch, offset }).toEqual(this.position);
    } else if (this.position?.epoch === epoch)
      expect(offset).toBeGreaterThanOrEqual(this.position.offset);
    this.position = { epoch, offset };
  }
}

/** A frame that hasn't come after so many milliseconds is lost. */
const LONGEST_MS = 3_000;

async function inTime<T>(frame: Promise<T>, context: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came ${context}`)), LONGEST_MS);
  });
  return Promise.race([frame, late]).finally(() => clearTimeout(timer));
}

/** `project`: a room with an object of its own; `user`: a room that shares its object with others. */
const kinds = fc.constantFrom("project" as const, "user" as const);

class RoomScenario {
  private readonly room: string;
  /** A room in the same object that gets events too, and has no followers. */
  private readonly neighbour: string | null;
  private readonly neighbours = { published: 0, last: 0 };
  private readonly followers = Array.from({ length: FOLLOWERS }, () => new CheckedSubscriber());
  /** The publishes that were not answered yet. */
  private pending: Promise<void>[] = [];
  /** The number of the event at each offset. */
  private readonly numbers = new Map<number, number>();
  private published = 0;
  private last = 0;

  constructor(kind: "project" | "user") {
    this.room = freshRoom(kind);
    this.neighbour = kind === "user" ? neighbourOf(this.room) : null;
  }

  async perform(step: RoomStep): Promise<void> {
    switch (step.type) {
      case "publish":
        for (let count = 0; count < step.count; count += 1) {
          this.published += 1;
          this.pending.push(this.publish(this.published));
        }
        if (this.neighbour) this.pending.push(this.publishNext(this.neighbour));
        return;
      case "repeat":
        if (this.published > 0) this.pending.push(this.publish(this.published));
        return;
      case "subscribe":
        await this.followers[step.follower]?.connect(this.room, step.over, step.resume);
        return;
      case "drop":
        this.followers[step.follower]?.drop();
        return;
      case "trim":
        await this.waitUntilRead();
        await this.trim();
        return;
      case "hibernate":
        await this.waitUntilRead();
        await this.hibernate(step.objects);
        return;
      case "restart":
        await this.waitUntilRead();
        for (const follower of this.followers) follower.drop();
        await evictAllDurableObjects({ webSockets: "close" });
        return;
      case "read":
        await this.waitUntilRead();
    }
  }

  async end(): Promise<void> {
    await this.waitUntilRead();
    for (const follower of this.followers) follower.drop();
  }

  /** Waits until every event is published and every follower has read it. */
  private async waitUntilRead(): Promise<void> {
    await Promise.all(this.pending);
    this.pending = [];
    for (const follower of this.followers) await follower.readTo(this.last, this.numbers);
    if (!this.neighbour) return;
    const { last, events } = await roomOf(this.neighbour).history(null, 1_000);
    expect([last, events.length]).toEqual([this.neighbours.last, this.neighbours.last]);
  }

  /** Publishes to the other room under the ids that the room itself uses. */
  private async publishNext(neighbour: string): Promise<void> {
    this.neighbours.published += 1;
    const n = this.neighbours.published;
    const { offset, repeated } = await publish(neighbour, "step.done", { n: -n }, `e${n}`);
    expect(repeated).toBe(false);
    this.neighbours.last = Math.max(this.neighbours.last, offset);
  }

  /** Publishes an event; a repeat must get the same offset as long as its id is remembered. */
  private async publish(n: number): Promise<void> {
    const { offset } = await publish(this.room, "step.done", { n }, `e${n}`);
    expect(this.numbers.get(offset) ?? n).toBe(n);
    this.numbers.set(offset, n);
    this.last = Math.max(this.last, offset);
  }

  private async trim(): Promise<void> {
    await expireEvents(this.room);
    this.neighbours.last = 0;
    const { last, epoch } = await roomOf(this.room).history(null, 1);
    if (epoch !== "") {
      expect(last).toBe(this.last);
      return;
    }
    // Without followers and events the room was erased, so it starts again.
    this.last = 0;
    this.numbers.clear();
  }

  private async hibernate(which: "room" | "gateways" | "all"): Promise<void> {
    const gatewaysToEvict = which === "room" ? [] : [...gateways()];
    const rooms = which === "gateways" ? [] : [objectOf(this.room)];
    await Promise.allSettled(
      [...gatewaysToEvict, ...rooms].map((object) => evictDurableObject(object)),
    );
  }
}

describe("a subscriber of a room", () => {
  it("gets every event once and in order, or a `subscribed` that reports the gap (R4b, R5, R6)", async () => {
    await fc.assert(
      fc.asyncProperty(
        kinds,
        fc.array(step, { minLength: 5, maxLength: 25 }),
        async (kind, steps) => {
          const scenario = new RoomScenario(kind);
          for (const step of steps) await scenario.perform(step);
          await scenario.end();
        },
      ),
      { numRuns: 40 },
    );
  }, 120_000);
});
