import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { GatewayObject } from "../../src/gateway/gateway-object.ts";
import { FrameOrder, type FrameScope } from "../../src/objects/frame-order.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { RoomObject } from "../../src/room/room-object.ts";
import { makeJob, reportOk } from "./backend-jobs-support.ts";
import { connectUser, freshRoom, publish, subscribe, userToken } from "./rooms-support.ts";
import { type Frame, makeSpace, TestSocket } from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };

let isHeld = false;

afterEach(() => {
  isHeld = false;
  vi.restoreAllMocks();
});

/** Makes calls of this method to these rooms' objects wait until `isHeld` is false again. */
function hold(method: "publish" | "join", ...rooms: string[]): void {
  isHeld = true;
  const original = RoomObject.prototype[method] as (...args: unknown[]) => Promise<unknown>;
  vi.spyOn(RoomObject.prototype, method).mockImplementation(async function (
    this: RoomObject,
    ...args: unknown[]
  ) {
    while (isHeld && rooms.includes(String(args[0]))) await scheduler.wait(5);
    return original.apply(this, args) as never;
  });
}

/** Waits for the answer to the last frame, and returns the `ref`s of all answers so far in their order. */
async function refsUntil(socket: TestSocket, last: number): Promise<unknown[]> {
  const frames = await socket.until(({ ref }) => ref === last);
  return frames.filter(({ ref }) => ref !== undefined).map(({ ref }) => ref);
}

function event(n: number) {
  return { type: "step.done", data: { n } };
}

describe("the frames of one socket of `/ws`", () => {
  it("have their effect and their answers in their order, however long one takes (R4d)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    await subscribe(socket, room);
    hold("publish", room);
    socket.send({ type: "publish", room, event: event(1), ref: 1 });
    socket.send({ type: "unsubscribe", room, ref: 2 });
    socket.send({ type: "subscribe", room: freshRoom(), ref: 3 });
    socket.send({ type: "nonsense" });
    socket.send({ type: "subscribe", room: "no room", ref: 4 });
    socket.send({ type: "publish", room: freshRoom(), event: event(1), ref: 5 });
    socket.send({ type: "ping", ref: 6 });
    expect((await socket.next("pong")).ref).toBe(6);
    isHeld = false;
    const frames = await socket.until(({ ref }) => ref === 5);
    const answers = frames.filter(({ type }) => type !== "step.done");
    expect(answers.map(({ type, ref }) => [type, ref])).toEqual([
      ["published", 1],
      ["unsubscribed", 2],
      ["subscribed", 3],
      ["error", undefined],
      ["error", 4],
      ["published", 5],
    ]);
  });

  it("bring the client's own events before it unsubscribes, even if their delivery is slow (R4d)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    await subscribe(socket, room);
    isHeld = true;
    const { deliver } = GatewayObject.prototype;
    vi.spyOn(GatewayObject.prototype, "deliver").mockImplementation(async function (
      this: GatewayObject,
      delivery,
    ) {
      while (isHeld && delivery.room === room) await scheduler.wait(5);
      return deliver.call(this, delivery);
    });
    for (const n of [1, 2, 3]) socket.send({ type: "publish", room, event: event(n), ref: n });
    socket.send({ type: "unsubscribe", room, ref: 4 });
    const frames = await socket.until(({ ref }) => ref === 4);
    const events = frames.filter(({ type }) => type === "step.done");
    expect(events.map(({ offset }) => offset)).toEqual([1, 2, 3]);
    isHeld = false;
    await publish(room, "step.done", { n: 4 });
    socket.send({ type: "ping", ref: 5 });
    expect((await socket.until("pong")).map(({ ref }) => ref)).toEqual([5]);
  });

  it("publish in their order, even if the call with the first events is slow (R4d)", async () => {
    const room = freshRoom();
    const reader = await connectUser("reader", ANY);
    await subscribe(reader, room);
    const socket = await connectUser("ann", ANY);
    hold("publish", room);
    const numbers = Array.from({ length: 150 }, (_, index) => index + 1);
    for (const n of numbers) socket.send({ type: "publish", room, event: event(n), ref: n });
    socket.send({ type: "ping", ref: "all" });
    await socket.next("pong");
    isHeld = false;
    expect(await refsUntil(socket, 150)).toEqual(numbers);
    const frames = await reader.until(({ offset }) => offset === 150);
    expect(frames.map(({ data }) => (data as { n: number }).n)).toEqual(numbers);
  });

  it("are judged by the token that came before them (R4d)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    hold("publish", room);
    socket.send({ type: "publish", room, event: event(1), ref: 1 });
    socket.send({ type: "authenticate", token: await userToken("ann", { rooms: ["*"] }), ref: 2 });
    socket.send({ type: "publish", room, event: event(2), ref: 3 });
    socket.send({ type: "authenticate", token: await userToken("ann", ANY), ref: 4 });
    socket.send({ type: "publish", room, event: event(3), ref: 5 });
    isHeld = false;
    const frames = await socket.until(({ ref }) => ref === 5);
    const answers = frames.filter(({ ref }) => ref !== undefined);
    expect(answers.map(({ type, ref }) => [type, ref])).toEqual([
      ["published", 1],
      ["authenticated", 2],
      ["error", 3],
      ["authenticated", 4],
      ["published", 5],
    ]);
  });

  it("subscribe before the next frame publishes, so that the client gets its own event (R4d)", async () => {
    const room = freshRoom();
    const space = await makeSpace();
    const socket = await connectUser("ann", ANY);
    hold("join", room);
    socket.send({ type: "subscribe", room, ref: 1 });
    socket.send({ type: "subscribe", room: `space:${space.name}`, ref: 2 });
    socket.send({ type: "publish", room, event: event(1), ref: 3 });
    socket.send({ type: "ping", ref: 4 });
    expect((await socket.next("pong")).ref).toBe(4);
    isHeld = false;
    const answers: Frame[] = [];
    while (answers.length < 4) {
      const frame = await socket.next(({ type }) => type !== "space.status");
      answers.push(frame);
    }
    const [first, second] = answers;
    expect([first?.ref, second?.ref]).toEqual([1, 2]);
    expect(
      answers
        .slice(2)
        .map(({ type }) => type)
        .sort(),
    ).toEqual(["published", "step.done"]);
  });

  it("bring all of a job that ends while the client still waits for its turn (R4d, R8)", async () => {
    const room = freshRoom();
    const id = await makeJob();
    const socket = await connectUser("ann", ANY);
    hold("publish", room);
    socket.send({ type: "publish", room, event: event(1), ref: 1 });
    socket.send({ type: "subscribe", room: `job:${id}`, ref: 2 });
    socket.send({ type: "ping", ref: 3 });
    await socket.next("pong");
    await reportOk(id, "complete", { result: 7 });
    isHeld = false;
    const frames = (await socket.until("unsubscribed")).filter(({ type }) => type !== "step.done");
    expect(frames.map(({ type }) => type)).toEqual([
      "published",
      "subscribed",
      "progress",
      "progress",
      "unsubscribed",
    ]);
    expect(frames.at(-2)).toMatchObject({ status: "completed", result: 7 });
    expect(frames.at(-1)).toMatchObject({ room: `job:${id}`, code: 1000 });
  });

  it("don't hold up another socket, nor the events of another room (R4d)", async () => {
    const [slow, quick] = [freshRoom(), freshRoom()];
    const socket = await connectUser("ann", ANY);
    const other = await connectUser("bob", ANY);
    await subscribe(socket, quick);
    hold("publish", slow);
    socket.send({ type: "publish", room: slow, event: event(1), ref: 1 });
    await subscribe(other, quick);
    await publish(quick, "step.done", { n: 7 });
    expect(await socket.next("step.done")).toMatchObject({ data: { n: 7 } });
    isHeld = false;
    expect(await socket.next("published")).toMatchObject({ ref: 1 });
  });

  it("find the place that an earlier frame leaves (R4d, R14)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    for (let n = 0; n < 98; n += 1) socket.send({ type: "subscribe", room: `full:${n}`, ref: n });
    await refsUntil(socket, 97);
    hold("publish", room);
    socket.send({ type: "publish", room, event: event(1), ref: 200 });
    socket.send({ type: "unsubscribe", room: "full:0", ref: 201 });
    socket.send({ type: "subscribe", room: freshRoom(), ref: 202 });
    isHeld = false;
    expect(await refsUntil(socket, 202)).toEqual([200, 201, 202]);
  });
});

describe("a socket of `/ws` whose frames are not answered", () => {
  it("is closed with 4429 once they are too many to be kept (R14c)", async () => {
    const room = freshRoom();
    const socket = await connectUser("ann", ANY);
    hold("publish", room);
    const text = "x".repeat(LIMITS.eventBytes - 100);
    const count = Math.ceil(LIMITS.unansweredLength / text.length) + 1;
    for (let n = 0; n < count; n += 1) {
      socket.send({ type: "publish", room, event: { type: "step.done", data: { text } } });
    }
    expect(await socket.next("error")).toMatchObject({ code: "rate_limited" });
    expect(await socket.closed).toMatchObject({ code: 4429 });
    isHeld = false;
  });
});

describe("the frames of the socket of one room", () => {
  it("are judged by the token that came before them, and answered in their order (R4d)", async () => {
    const room = freshRoom();
    const path = `/api/rooms/${room}/ws?token=${await userToken("ann", ANY)}`;
    const socket = await TestSocket.open(path);
    await socket.next("connection");
    const reading = await userToken("ann", { rooms: ["*"] });
    socket.send({ type: "publish", event: event(1), ref: 1 });
    socket.send({ type: "authenticate", token: reading, ref: 2 });
    socket.send({ type: "publish", event: event(2), ref: 3 });
    socket.send("nonsense");
    socket.send({ type: "authenticate", token: await userToken("ann", ANY), ref: 4 });
    socket.send({ type: "publish", event: event(3), ref: 5 });
    const frames = await socket.until(({ ref }) => ref === 5);
    const answers = frames.filter(({ type }) => type !== "step.done");
    expect(answers.map(({ type, ref }) => [type, ref])).toEqual([
      ["published", 1],
      ["authenticated", 2],
      ["error", 3],
      ["error", undefined],
      ["authenticated", 4],
      ["published", 5],
    ]);
  });
});

const scope: fc.Arbitrary<FrameScope> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ on: "everything" } as const) },
  { weight: 1, arbitrary: fc.constant({ on: "nothing" } as const) },
  {
    weight: 6,
    arbitrary: fc.record({
      on: fc.constant("room" as const),
      room: fc.constantFrom("a:1", "a:2"),
      together: fc.boolean(),
    }),
  },
);

describe("the order of frames", () => {
  it("holds for any mix of frames, whatever time each takes", async () => {
    const frames = fc.array(fc.record({ scope, turns: fc.nat(9) }), { minLength: 1 });
    await fc.assert(fc.asyncProperty(frames, runInOrder), { numRuns: 300 });
  });
});

/** Checks that each frame begins after those that it may not overlap with, and that answers come in order. */
async function runInOrder(frames: { scope: FrameScope; turns: number }[]): Promise<void> {
  const order = new FrameOrder<object>();
  const client = {};
  const ended = new Set<number>();
  const answered: number[] = [];
  const runs = frames.map(({ scope, turns }, index) =>
    order.run(client, scope, 1, async (earlierAnswered) => {
      const before = frames.slice(0, index);
      const apart = before.flatMap((other, at) => (mayOverlap(other.scope, scope) ? [] : [at]));
      expect(apart.filter((at) => !ended.has(at))).toEqual([]);
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await earlierAnswered;
      ended.add(index);
      answered.push(index);
    }),
  );
  expect(order.unansweredLength(client)).toBe(frames.length);
  await Promise.all(runs);
  expect(answered).toEqual(frames.map((_, index) => index));
  expect(order.unansweredLength(client)).toBe(0);
}

function mayOverlap(earlier: FrameScope, later: FrameScope): boolean {
  if (earlier.on === "nothing" || later.on === "nothing") return true;
  if (earlier.on === "everything" || later.on === "everything") return false;
  return earlier.room !== later.room || (earlier.together && later.together);
}
