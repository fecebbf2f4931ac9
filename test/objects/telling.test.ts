import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  inRows,
  makeSpace,
  OPERATOR,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

type Space = { name: string };

function spaceSocket(space: Space, headers?: Record<string, string>): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`, headers);
}

function isEnd(frame: Frame): boolean {
  return frame.status === "completed";
}

const RESULT = { type: "result", attempt: 1, output: "done" };
const SUBMIT = { type: "submit", ref: 1, input: {}, cancel_on_disconnect: true };

describe("a space that becomes private", () => {
  it("closes strangers' sockets, of the space and of a job, and not the operator's", async () => {
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
      expect(await stranger.closed).toEqual({ code: 4401, reason: "This space is private now." });
    }
    worker.send({ ...RESULT, job_id: id });
    for (const socket of [ofSpace, ofJob]) {
      expect(await socket.next(isEnd)).toMatchObject({ job_id: id, result: "done" });
    }
    expect((await ofJob.closed).code).toBe(1000);
    ofSpace.send({ type: "submit", ref: "still there", input: {} });
    expect(await ofSpace.next("accepted")).toMatchObject({ ref: "still there" });
  });

  it("cancels what a stranger wanted canceled with its socket, and hears no more of it", async () => {
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
        object.change({ operator: true }, { visibility: "private" }),
        object.webSocketMessage(socket, JSON.stringify(SUBMIT)),
      ]);
    });
    expect((await stranger.closed).code).toBe(4401);
    expect(await inRows(space, "SELECT status FROM jobs ORDER BY ulid")).toEqual([
      { status: "canceled" },
      { status: "queued" },
    ]);
  });
});

describe("a follower that can't be told", () => {
  /** Makes one method of the only socket that follows a job throw. */
  function breakFollower(space: Space, method: "send" | "close") {
    return runInDurableObject(objectOf(space), (_object, state) => {
      const follows = (socket: WebSocket) => socket.deserializeAttachment()?.follows?.length > 0;
      const [socket, another] = state.getWebSockets().filter(follows);
      if (!socket || another) throw new Error("not one socket follows");
      const broken = () => {
        throw new Error("broken");
      };
      Object.defineProperty(socket, method, { value: broken });
    });
  }

  it.each(["send", "close"] as const)(
    "(its %s throws) keeps neither the worker nor other followers from hearing",
    async (method) => {
      const space = await makeSpace();
      const { socket: worker } = await connectWorker(space);
      const { id: job_id } = await submit(space.name);
      const follow = async () => {
        const follower = await spaceSocket(space);
        follower.send({ type: "follow", job_id });
        await follower.next("progress");
        return follower;
      };
      await follow();
      await breakFollower(space, method);
      const other = await follow();
      const ofJob = await TestSocket.open(`/ws/${job_id}`);
      await worker.next("job");
      worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
      worker.send({ ...RESULT, job_id });
      expect(await worker.next("ack")).toMatchObject({ job_id });
      for (const socket of [other, ofJob]) {
        expect(await socket.next("output")).toMatchObject({ delta: "x" });
        expect(await socket.next(isEnd)).toMatchObject({ result: "done" });
      }
      const next = await submit(space.name);
      expect(await worker.next("job")).toMatchObject({ job_id: next.id });
    },
  );
});
