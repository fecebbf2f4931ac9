import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { bearer, followCaughtUp, makeJob, report } from "./backend-jobs-support.ts";
import { connectUser, freshRoom, publish, subscribe, userToken } from "./rooms-support.ts";
import { call, connectWorker, makeSpace, OPERATOR, submit, TestSocket } from "./support.ts";

/** A piece of output or an event's data. */
const PIECE = "x".repeat(250_000);
/** So many pieces are more than a client may leave unread. */
const TOO_MANY_PIECES = Math.ceil(LIMITS.unreadBytes / PIECE.length) + 16;

const CUT = { code: 4429, reason: "too slow; resume with since" };

/** Answers every check, as a client that reads does. */
async function readOn(socket: TestSocket, isLast: (frame: { type: string }) => boolean) {
  const frames = [];
  for (;;) {
    const frame = await socket.next(() => true);
    if (frame.type === "read_check") socket.send(frame);
    frames.push(frame);
    if (isLast(frame)) return frames;
  }
}

/** A socket whose client gets what `send` sends. */
interface Door {
  open: () => Promise<TestSocket>;
  send: () => Promise<unknown>;
}

const DOORS: Record<string, () => Promise<Door>> = {
  "of a job of a backend": async () => {
    const id = await makeJob();
    const open = () => followCaughtUp(id);
    return { open, send: () => report(id, "output", { delta: PIECE }) };
  },
  "of a room": async () => {
    const room = freshRoom();
    const headers = {
      authorization: `Bearer ${await userToken("ann", { rooms: ["project:*"] })}`,
    };
    const open = () => TestSocket.open(`/api/rooms/${room}/ws`, headers);
    return { open, send: () => publish(room, "step.done", { PIECE }) };
  },
  "of many rooms": async () => {
    const room = freshRoom();
    const open = async () => {
      const socket = await connectUser("ann", { rooms: ["project:*"] });
      await subscribe(socket, room);
      return socket;
    };
    return { open, send: () => publish(room, "step.done", { PIECE }) };
  },
  "of many rooms, for a job": async () => {
    const id = await makeJob();
    const open = async () => {
      const socket = await connectUser("ann", { rooms: ["project:*"] });
      await subscribe(socket, `job:${id}`);
      return socket;
    };
    return { open, send: () => report(id, "output", { delta: PIECE }) };
  },
  "of a job of a space": async () => {
    const { id, attempt, worker } = await runningJob();
    const open = async () => {
      const socket = await TestSocket.open(`/ws/${id}`);
      await socket.next("progress");
      return socket;
    };
    const frame = { type: "output", job_id: id, attempt, delta: PIECE };
    return { open, send: async () => worker.send(frame) };
  },
  "of a space": async () => {
    const { id, space, attempt, worker } = await runningJob();
    const open = async () => {
      const socket = await TestSocket.open(`/api/spaces/${space}/ws`);
      socket.send({ type: "follow", job_id: id });
      await socket.next("progress");
      return socket;
    };
    const frame = { type: "output", job_id: id, attempt, delta: PIECE };
    return { open, send: async () => worker.send(frame) };
  },
};

async function runningJob() {
  const space = await makeSpace({ offline: "queue" });
  const { socket: worker } = await connectWorker(space);
  const { id } = await submit(space.name);
  const { attempt } = await worker.next("job");
  return { id, space: space.name, attempt, worker };
}

describe("a client that doesn't read", () => {
  it.each(Object.keys(DOORS))(
    "is closed with 4429 on the socket %s; one that reads gets everything (C18)",
    async (name) => {
      const door = await DOORS[name]?.();
      if (!door) throw new Error(name);
      const silent = await door.open();
      const reader = await door.open();
      let pieces = 0;
      let isOver = false;
      const reading = readOn(reader, ({ type }) => {
        if (type === "output" || type === "step.done") pieces += 1;
        return isOver;
      });
      let isClosed = false;
      void silent.closed.then(() => {
        isClosed = true;
      });
      for (let n = 1; !isClosed; n += 1) {
        await door.send();
        await expect.poll(() => pieces, { interval: 5 }).toBe(n);
      }
      expect(await silent.closed).toEqual(CUT);
      isOver = true;
      await door.send();
      const frames = await reading;
      expect(frames.some(({ type }) => type === "read_check")).toBe(true);
      const got = silent.unread.filter(
        ({ type }) => type === "output" || type === "step.done",
      ).length;
      expect(got * PIECE.length).toBeLessThan(LIMITS.unreadAtOnce + 2 * LIMITS.readCheckEvery);
      reader.close();
    },
  );

  it("is not cut off if it only pings or sends frames, as long as the object holds little (C18b)", async () => {
    const id = await makeJob();
    const viewer = await followCaughtUp(id);
    for (let n = 0; n < TOO_MANY_PIECES + 10; n += 1) {
      await report(id, "output", { delta: PIECE });
      if (n % 4 === 0) viewer.send(n % 8 === 0 ? "ping" : { type: "ping" });
    }
    await report(id, "complete", { result: 1 });
    expect((await viewer.closed).code).toBe(1000);
  });

  it("is cut off even if it pings once all sockets of the object leave too much unread (C18c)", async () => {
    const id = await makeJob();
    const viewers = await Promise.all(Array.from({ length: 20 }, () => followCaughtUp(id)));
    const cut = new Set<TestSocket>();
    for (const viewer of viewers) void viewer.closed.then(() => cut.add(viewer));
    const reader = await followCaughtUp(id);
    const reading = readOn(reader, (frame) => "result" in frame);
    for (let n = 0; n < TOO_MANY_PIECES; n += 1) {
      for (const viewer of viewers) if (!cut.has(viewer)) viewer.send("ping");
      await report(id, "output", { delta: PIECE });
    }
    for (const viewer of viewers) expect(await viewer.closed).toEqual(CUT);
    await report(id, "complete", { result: 1 });
    await reading;
  });

  it("goes on from its position when it comes back (C8)", async () => {
    const id = await makeJob();
    const silent = await followCaughtUp(id);
    let isClosed = false;
    void silent.closed.then(() => {
      isClosed = true;
    });
    while (!isClosed) await report(id, "output", { delta: PIECE });
    await report(id, "complete", { result: "whole" });
    const back = await TestSocket.open(`/ws/${id}`);
    expect(await back.next(({ result }) => result !== undefined)).toMatchObject({
      result: "whole",
    });
  });

  it("is not counted where the edge itself reads: a stream gets everything", async () => {
    const id = await makeJob();
    const stream = await call("GET", `/api/jobs/${id}/events`);
    const text = stream.text();
    for (let n = 0; n < TOO_MANY_PIECES; n += 1) await report(id, "output", { delta: PIECE });
    await report(id, "complete", { result: 1 });
    expect((await text).match(/"type":"output"/g)).toHaveLength(TOO_MANY_PIECES);
    expect(await text).not.toContain("read_check");
  });
});

describe("a backend that reports a job", () => {
  it("shows with every report that it reads (C18b)", async () => {
    const id = await makeJob();
    const backend = await followCaughtUp(id, "", await bearer({ publish: ["job:*"] }));
    for (let n = 0; n < TOO_MANY_PIECES; n += 1) {
      backend.send({ type: "output", delta: PIECE, ref: n });
      await backend.next(({ ref }) => ref === n);
    }
    const others = await call("GET", `/api/jobs/${id}`, undefined, OPERATOR);
    expect(others.status).toBe(200);
    backend.send({ type: "ping" });
    await backend.next("pong");
  });
});
