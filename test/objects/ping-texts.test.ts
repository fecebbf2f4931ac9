import { describe, expect, it } from "vitest";
import { freshId } from "./backend-jobs-support.ts";
import { freshRoom, userToken } from "./rooms-support.ts";
import { connectWorker, makeSpace, OPERATOR, submit, TestSocket } from "./support.ts";

/** More than the malformed frames in a row that close a socket. */
const SENT = ["pong", "pong", "pong", "ping", "pong"];

/** Each kind of socket, opened, and a frame that it answers. */
const SOCKETS: [string, () => Promise<{ socket: TestSocket; frame: object; answer: string }>][] = [
  [
    "a space",
    async () => {
      const { name } = await makeSpace({ offline: "queue" });
      const socket = await TestSocket.open(`/api/spaces/${name}/ws`);
      return { socket, frame: { type: "submit", input: {}, ref: 1 }, answer: "accepted" };
    },
  ],
  [
    "a job of a space",
    async () => {
      const { name } = await makeSpace({ offline: "queue" });
      const socket = await TestSocket.open(`/ws/${(await submit(name)).id}`);
      await socket.next("progress");
      return { socket, frame: { type: "cancel" }, answer: "progress" };
    },
  ],
  [
    "a job of a backend",
    async () => {
      const socket = await TestSocket.open(`/ws/${freshId()}`);
      return { socket, frame: { type: "ping" }, answer: "pong" };
    },
  ],
  [
    "one room",
    async () => {
      const socket = await TestSocket.open(`/api/rooms/${freshRoom()}/ws`, OPERATOR);
      return { socket, frame: { type: "ping" }, answer: "pong" };
    },
  ],
  [
    "many channels",
    async () => {
      const socket = await TestSocket.open(`/ws?token=${await userToken("ann")}`);
      return { socket, frame: { type: "ping" }, answer: "pong" };
    },
  ],
  [
    "the monitor",
    async () => {
      const socket = await TestSocket.open("/ws/monitor", OPERATOR);
      return { socket, frame: { type: "ping" }, answer: "pong" };
    },
  ],
  [
    "a worker",
    async () => {
      const space = await makeSpace();
      const { socket } = await connectWorker(space);
      const frame = { type: "accept", job_id: `${space.name}.0`, attempt: 1 };
      return { socket, frame, answer: "stale" };
    },
  ],
];

describe("the bare texts `ping` and `pong`", () => {
  it.each(SOCKETS)("are no frames on the socket of %s (C2a)", async (_kind, open) => {
    const { socket, frame, answer } = await open();
    for (const text of SENT) socket.send(text);
    socket.send(frame);
    const frames = await socket.until(answer);
    expect(frames.filter(({ type }) => type === "error")).toEqual([]);
  });

  it("are no first frame of a worker, which may still register (C2a)", async () => {
    const { name, token } = await makeSpace();
    const headers = { authorization: `Bearer ${token}` };
    const worker = await TestSocket.open(`/api/spaces/${name}/connect`, headers);
    worker.send("pong");
    worker.send({ type: "register", worker_id: "w" });
    expect((await worker.until("registered")).map(({ type }) => type)).toEqual([
      "hello",
      "registered",
    ]);
  });
});
