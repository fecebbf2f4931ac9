import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { ADMIN } from "../support/callers.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

function spaceSocket(space: NamedSpace, headers?: Record<string, string>): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`, headers);
}

function isEnd(frame: Frame): boolean {
  return frame.status === "completed";
}

const RESULT = { type: "result", attempt: 1, output: "done" };
const SUBMIT = { type: "submit", ref: 1, input: {}, cancel_on_disconnect: true };

describe("a space that becomes private", () => {
  it("closes the sockets of strangers, of the space and of its jobs, with 4401, but not the operator's (S14)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    const open = (headers?: Record<string, string>) =>
      Promise.all([spaceSocket(space, headers), TestSocket.open(`/ws/${id}`, headers)]);
    const strangers = await open();
    const [ofSpace, ofJob] = await open(OPERATOR);
    ofSpace.send({ type: "follow", job_id: id });
    await ofSpace.next(({ job_id }) => job_id === id);
    const patch = call("PATCH", `/api/spaces/${space.name}`, { visibility: "private" }, OPERATOR);
    await expectStatus(200, await patch);
    for (const stranger of strangers) {
      expect(await stranger.closed).toEqual({
        code: 4401,
        reason: "You have no right to this any more.",
      });
    }
    worker.send({ ...RESULT, job_id: id });
    for (const socket of [ofSpace, ofJob]) {
      expect(await socket.next(isEnd)).toMatchObject({ job_id: id, result: "done" });
    }
    expect((await ofJob.closed).code).toBe(1000);
    ofSpace.send({ type: "submit", ref: "still there", input: {} });
    expect(await ofSpace.next("accepted")).toMatchObject({ ref: "still there" });
  });

  it("cancels the jobs with `cancel_on_disconnect` of a stranger, and ignores later frames of its socket (S11)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const stranger = await spaceSocket(space);
    stranger.send(SUBMIT);
    stranger.send({ ...SUBMIT, cancel_on_disconnect: false });
    await stranger.next("accepted");
    await stranger.next("accepted");
    await runInDurableObject(objectOf(space), async (object, state) => {
      const [socket] = state.getWebSockets();
      if (!socket) throw new Error("there is no socket");
      await Promise.all([
        object.change(ADMIN, { visibility: "private" }),
        object.webSocketMessage(socket, JSON.stringify(SUBMIT)),
      ]);
    });
    expect((await stranger.closed).code).toBe(4401);
    expect(await runSql(space, "SELECT status FROM jobs ORDER BY ulid")).toEqual([
      { status: "canceled" },
      { status: "queued" },
    ]);
  });
});

describe("a follower whose socket is broken", () => {
  /** Makes one method of the only subscriber's socket throw. */
  function breakSubscriber(space: NamedSpace, method: "send" | "close") {
    return runInDurableObject(objectOf(space), (_object, state) => {
      const kindOf = (socket: WebSocket) => socket.deserializeAttachment()?.kind;
      const sockets = state.getWebSockets().filter((socket) => kindOf(socket) === "subscriber");
      if (!sockets[0] || sockets[1]) throw new Error("there is not one subscriber");
      const broken = () => {
        throw new Error("broken");
      };
      Object.defineProperty(sockets[0], method, { value: broken });
    });
  }

  async function followOverSpace(space: NamedSpace, job_id: string): Promise<TestSocket> {
    const follower = await spaceSocket(space);
    follower.send({ type: "follow", job_id });
    await follower.next("progress");
    return follower;
  }

  async function followOne(_space: NamedSpace, job_id: string): Promise<TestSocket> {
    const follower = await TestSocket.open(`/ws/${job_id}`);
    await follower.next("progress");
    return follower;
  }

  it.each([
    ["a space's socket whose send", followOverSpace, "send"],
    ["a job's socket whose close", followOne, "close"],
  ] as const)(
    "(%s throws) doesn't keep frames from the worker and from other followers",
    async (_what, follow, method) => {
      const space = await makeSpace();
      const { socket: worker } = await connectWorker(space);
      const { id: job_id } = await submit(space.name);
      await follow(space, job_id);
      await breakSubscriber(space, method);
      const others = [await followOverSpace(space, job_id), await followOne(space, job_id)];
      await worker.next("job");
      worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
      worker.send({ ...RESULT, job_id });
      expect(await worker.next("ack")).toMatchObject({ job_id });
      for (const socket of others) {
        expect(await socket.next("output")).toMatchObject({ delta: "x" });
        expect(await socket.next(isEnd)).toMatchObject({ result: "done" });
      }
      const next = await submit(space.name);
      expect(await worker.next("job")).toMatchObject({ job_id: next.id });
    },
  );
});
