import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { SpaceObject } from "../../src/space/space-object.ts";
import {
  connectWorker,
  getJob,
  makeSpace,
  type NamedSpace,
  objectOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

function spaceSocket(space: NamedSpace, headers?: Record<string, string>): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`, headers);
}

/** Calls the object's handlers in one turn, as the runtime does when frames and a close arrive together. */
function callInOneTurn(
  space: NamedSpace,
  kind: "worker" | "subscriber",
  arrive: (object: SpaceObject, socket: WebSocket) => Promise<void>[],
): Promise<void> {
  return runInDurableObject(objectOf(space), async (object, state) => {
    const sockets = state.getWebSockets();
    const socket = sockets.find((socket) => socket.deserializeAttachment()?.kind === kind);
    if (!socket) throw new Error(`there is no ${kind}`);
    await Promise.all(arrive(object, socket));
  });
}

function resultOf(job_id: string): string {
  return JSON.stringify({ type: "result", job_id, attempt: 1, output: "done" });
}

/** Sends `frames` and returns everything that the socket gets up to the answer to the last one. */
async function receiveUpTo(socket: TestSocket, space: NamedSpace, ...frames: (object | string)[]) {
  for (const frame of frames) socket.send(frame);
  const job_id = `${space.name}.${"0".repeat(26)}`;
  socket.send({ type: "cancel", job_id, ref: "so far" });
  return (await socket.until(({ ref }) => ref === "so far")).slice(0, -1);
}

function statusesOf(space: NamedSpace) {
  return runSql<{ status: string; attempts: number; reason: string | null }>(
    space,
    "SELECT status, attempts, reason FROM jobs ORDER BY ulid",
  );
}

const SUBMIT = { type: "submit", ref: 1, input: {}, cancel_on_disconnect: true };
const CANCELED = { status: "canceled", reason: "The submitter disconnected." };

describe.each([1000, 4000])("a worker that sends a result and closes with %i", (code) => {
  it("in the same turn has ended its job, which no worker gets again (W17, W20b)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    await callInOneTurn(space, "worker", (object, socket) => [
      object.webSocketMessage(socket, resultOf(id)),
      object.webSocketClose(socket, code, ""),
    ]);
    expect(await getJob(id)).toMatchObject({ status: "completed", result: "done", attempt: 1 });
    const next = await submit(space.name);
    const { socket: again } = await connectWorker(space);
    expect(await again.next("job")).toMatchObject({ job_id: next.id, attempt: 1 });
    again.send(resultOf(id));
    expect(await again.next("ack")).toMatchObject({ job_id: id, of: "result" });
  });

  it("over the wire has ended its job too (W17)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    const viewer = await TestSocket.open(`/ws/${id}`);
    await viewer.next("progress");
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "x" });
    worker.send(resultOf(id));
    worker.close(code);
    const received = await viewer.until((frame) => frame.type === "progress");
    expect(received).toMatchObject([{ type: "output" }, { status: "completed", result: "done" }]);
    expect((await viewer.closed).code).toBe(1000);
  });
});

describe("a worker that closes before its result", () => {
  it("in the same turn has not ended its job, because frames after a close are ignored", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    await callInOneTurn(space, "worker", (object, socket) => [
      object.webSocketClose(socket, 1000, ""),
      object.webSocketMessage(socket, resultOf(id)),
    ]);
    expect(await getJob(id)).toMatchObject({ status: "queued", attempt: 1 });
  });
});

describe("a worker that the edge closes", () => {
  it("for a wrong first frame can't register in the same turn, and gets no job (W30)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { id } = await submit(space.name);
    const worker = await TestSocket.open(`/api/spaces/${space.name}/connect?token=${space.token}`);
    await worker.next("hello");
    await callInOneTurn(space, "worker", (object, socket) => [
      object.webSocketMessage(socket, "{"),
      object.webSocketMessage(socket, JSON.stringify({ type: "register", worker_id: "one" })),
    ]);
    expect((await worker.closed).code).toBe(4400);
    expect(await getJob(id)).toMatchObject({ status: "queued", attempt: 0 });
  });
});

describe("an alarm that runs after a job's deadline", () => {
  /** Runs the alarm after every limit of the job has passed; `frames` arrive earlier in the same turn. */
  async function runAlarmLate(space: NamedSpace, frames: string[]): Promise<void> {
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 180_000);
    try {
      await callInOneTurn(space, "worker", (object, socket) => [
        ...frames.map((frame) => object.webSocketMessage(socket, frame)),
        object.alarm(),
      ]);
    } finally {
      clock.mockRestore();
    }
  }

  it("leaves the job completed if its result arrived earlier in the same turn", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    await runAlarmLate(space, [resultOf(id)]);
    expect(await worker.next(({ type }) => type !== "pong")).toMatchObject({ type: "ack" });
    expect(await getJob(id)).toMatchObject({ status: "completed", result: "done" });
  });

  it("fails the job if only a sign of life arrived earlier in the same turn (W15)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    await runAlarmLate(space, [JSON.stringify({ type: "accept", job_id: id, attempt: 1 })]);
    expect(await worker.next("cancel")).toMatchObject({ job_id: id });
    expect(await getJob(id)).toMatchObject({ status: "failed", error: { code: "timeout" } });
  });
});

describe("a job with `cancel_on_disconnect`", () => {
  it.each([1000, 1001, 1006])(
    "is canceled if its submitter closes with %i in the same turn (S11)",
    async (code) => {
      const space = await makeSpace({ offline: "queue" });
      await spaceSocket(space);
      await callInOneTurn(space, "subscriber", (object, socket) => [
        object.webSocketMessage(socket, JSON.stringify(SUBMIT)),
        object.webSocketClose(socket, code, ""),
      ]);
      expect(await statusesOf(space)).toMatchObject([CANCELED]);
    },
  );

  it("is canceled if its submitter closes at once over the wire, and a job without it is not (S11)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const submitter = await spaceSocket(space);
    submitter.send({ ...SUBMIT, cancel_on_disconnect: false });
    await submitter.next("accepted");
    submitter.send(SUBMIT);
    submitter.close();
    const kept = await worker.next("job");
    await vi.waitFor(async () =>
      expect(await statusesOf(space)).toMatchObject([{ status: "processing" }, CANCELED]),
    );
    worker.send(resultOf(String(kept.job_id)));
    const next = await submit(space.name);
    expect(await worker.next("job")).toMatchObject({ job_id: next.id });
  });

  it("is not made at all if the close of its submitter came first", async () => {
    const space = await makeSpace({ offline: "queue" });
    await spaceSocket(space);
    await callInOneTurn(space, "subscriber", (object, socket) => [
      object.webSocketClose(socket, 1000, ""),
      object.webSocketMessage(socket, JSON.stringify(SUBMIT)),
    ]);
    expect(await statusesOf(space)).toEqual([]);
  });
});

describe("a subscriber that sends wrong frames", () => {
  const tooLarge = JSON.stringify({ ...SUBMIT, input: { x: "x".repeat(LIMITS.frameBytes) } });
  const rude: [string, string[], string, number][] = [
    ["three malformed frames in a row", ["{", '{"type":"nothing"}', "[]"], "malformed_frame", 4400],
    ["a frame too large", [tooLarge], "frame_too_large", 1009],
  ];

  it.each(rude)(
    "is closed for %s, and its job is canceled (S11, S14)",
    async (_why, frames, error, code) => {
      const space = await makeSpace();
      const { socket: worker } = await connectWorker(space);
      const submitter = await spaceSocket(space);
      submitter.send(SUBMIT);
      await submitter.next("accepted");
      await worker.next("job");
      for (const frame of frames) submitter.send(frame);
      expect(await submitter.next("error")).toMatchObject({ code: error });
      expect((await submitter.closed).code).toBe(code);
      expect(await worker.next("cancel")).toMatchObject({ reason: CANCELED.reason });
    },
  );

  it.each(rude)(
    "is closed for %s in the turn of its submit, and its job is canceled (S11)",
    async (_why, frames) => {
      const space = await makeSpace({ offline: "queue" });
      await spaceSocket(space);
      await callInOneTurn(space, "subscriber", (object, socket) =>
        [JSON.stringify(SUBMIT), ...frames, JSON.stringify(SUBMIT)].map((frame) =>
          object.webSocketMessage(socket, frame),
        ),
      );
      expect(await statusesOf(space)).toMatchObject([CANCELED]);
    },
  );

  it("stays open if its malformed frames are not in a row (S6a)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const submitter = await spaceSocket(space);
    for (let round = 0; round < 3; round += 1) {
      const received = await receiveUpTo(submitter, space, "{", "{");
      expect(received.filter(({ type }) => type === "error")).toHaveLength(2);
    }
    submitter.send(SUBMIT);
    expect(await submitter.next("accepted")).toMatchObject({ ref: 1 });
  });
});
