import { describe, expect, it } from "vitest";
import { FrameAllowance } from "../../src/objects/frame-allowance.ts";
import { Inbox } from "../../src/objects/inbox.ts";
import { bearer, followCaughtUp, isOver, makeJob } from "./backend-jobs-support.ts";
import { freshRoom, roomOf } from "./rooms-support.ts";
import { connectWorker, getJob, makeSpace, submit, TestSocket } from "./support.ts";

/** An inbox that records its batches. */
function recordedInbox() {
  const batches: number[] = [];
  const inbox = new Inbox({
    sendBuffer: { after: (callback) => callback() },
    isBurst: () => false,
    run: (steps) => {
      batches.push(steps.length);
      for (const step of steps) step(0);
    },
  });
  return { inbox, batches };
}

describe("an inbox", () => {
  it("runs many commands in batches of 500, in their order, and lets others run in between", async () => {
    const { inbox, batches } = recordedInbox();
    const order: number[] = [];
    const joined = Array.from({ length: 1_200 }, (_, n) =>
      inbox.join(() => ({ answer: () => order.push(n) })),
    );
    await joined[0];
    expect(batches).toEqual([500]);
    const late = inbox.join(() => ({ answer: () => order.push(1_200) }));
    await Promise.all([...joined, late]);
    expect(batches).toEqual([500, 500, 201]);
    expect(order).toEqual(Array.from({ length: 1_201 }, (_, n) => n));
  });

  it("runs large commands in smaller batches, and one that is larger alone", async () => {
    const { inbox, batches } = recordedInbox();
    const lengths = [200_000, 200_000, 200_000, 900_000, 10, 10];
    await Promise.all(
      lengths.map((length) => inbox.join(() => ({ answer: () => undefined }), length)),
    );
    expect(batches).toEqual([2, 1, 1, 2]);
  });

  it("gives all that waits to a caller that can't wait, and goes on afterwards", async () => {
    const { inbox, batches } = recordedInbox();
    const joined = Array.from({ length: 700 }, () => inbox.join(() => ({ answer: () => 1 })));
    await joined[0];
    const rest = inbox.takeAll();
    expect([rest.length, inbox.isEmpty]).toEqual([200, true]);
    for (const step of rest) step(0);
    await Promise.all(joined);
    expect(await inbox.join(() => ({ answer: () => 2 }))).toBe(2);
    expect(batches).toEqual([500, 1]);
  });
});

describe("a caller that can't wait", () => {
  it("gets what waits if it fits into one batch, and otherwise goes first", async () => {
    const { inbox, batches } = recordedInbox();
    const many = Array.from({ length: 600 }, () => inbox.join(() => ({ answer: () => 1 })));
    expect([inbox.fitsBatch, inbox.takeIfFew().length]).toEqual([false, 0]);
    await many[0];
    expect(inbox.fitsBatch).toBe(true);
    const few = inbox.takeIfFew();
    expect([few.length, inbox.isEmpty]).toEqual([100, true]);
    for (const step of few) step(0);
    await Promise.all(many);
    expect(batches).toEqual([500]);
  });
});

describe("the allowance for frames that are stored one by one", () => {
  it("is exceeded by a stream of more than 50 frames a second, not by one of fewer", () => {
    const exceededAt = (everyMs: number) => {
      const allowance = new FrameAllowance();
      for (let n = 0; n < 1_000; n += 1) {
        allowance.onFrame(1_000_000 + n * everyMs);
        if (allowance.isExceeded) return n;
      }
      return null;
    };
    expect(exceededAt(0)).toBe(32);
    expect(exceededAt(5)).toBeLessThan(50);
    expect(exceededAt(20)).toBeNull();
  });

  it("is never exceeded by a worker that ends one quick job after the other", () => {
    const allowance = new FrameAllowance();
    for (let n = 0; n < 5_000; n += 1) {
      if (n % 8 === 0) allowance.grant(1);
      allowance.onFrame(1_000_000);
      expect(allowance.isExceeded).toBe(false);
    }
  });
});

describe("thousands of messages at once", () => {
  const MANY = 1_200;

  it("of a worker all arrive, in their order", async () => {
    const space = await makeSpace();
    const { socket } = await connectWorker(space);
    const { id } = await submit(space.name);
    const { job_id, attempt } = await socket.next("job");
    const follower = await TestSocket.open(`/ws/${id}`);
    await follower.next("progress");
    for (let n = 0; n < MANY; n += 1) {
      socket.send({ type: "output", job_id, attempt, delta: `${n} ` });
    }
    socket.send({ type: "result", job_id, attempt, output: null });
    const frames = await follower.until(isOver);
    const pieces = frames.filter(({ type }) => type === "output");
    expect(pieces.map(({ delta }) => delta)).toEqual(
      Array.from({ length: MANY }, (_, n) => `${n} `),
    );
    const offsets = pieces.map(({ offset }) => Number(offset));
    expect(offsets.map((offset) => offset - (offsets[0] ?? 0))).toEqual(
      Array.from({ length: MANY }, (_, n) => n),
    );
    expect((await getJob(id)).status).toBe("completed");
  });

  it("of a backend are all answered, in their order", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", await bearer({ publish: [`job:${id}`] }));
    for (let ref = 0; ref < MANY; ref += 1) backend.send({ type: "output", delta: ref, ref });
    const frames = await backend.until((frame) => frame.ref === MANY - 1);
    const acks = frames.filter(({ type }) => type === "ack");
    expect(acks.map(({ ref }) => ref)).toEqual(Array.from({ length: MANY }, (_, n) => n));
  });

  it("of publishers each get their offset, in their order", async () => {
    const room = roomOf(freshRoom());
    const published = await Promise.all(
      Array.from({ length: 1_200 }, (_, n) => room.publish([{ type: "note.added", data: { n } }])),
    );
    expect(published.map(([event]) => event?.offset)).toEqual(
      Array.from({ length: 1_200 }, (_, n) => n + 1),
    );
    const { events } = await room.history(null, 1_000);
    expect(events.map(({ text }) => JSON.parse(text).data.n)).toEqual(
      Array.from({ length: 1_000 }, (_, n) => n),
    );
  });
});
