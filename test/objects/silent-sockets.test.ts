import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  connectUser,
  freshRoom,
  gateways,
  hibernateGateways,
  objectOf,
  roomOf,
  subscribe,
  userToken,
} from "./rooms-support.ts";
import {
  connectWorker,
  makeSpace,
  passTimeTo,
  objectOf as spaceObjectOf,
  TestSocket,
} from "./support.ts";

const ANY = { rooms: ["*"], publish: ["*"] };
const MINUTE = 60_000;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Makes the sockets of the objects so much older, so that a ping from now on isn't one of their openings. */
async function age(objects: DurableObjectStub[], ms: number): Promise<void> {
  for (const object of objects) {
    await runInDurableObject(object, (_object, state) => {
      for (const socket of state.getWebSockets()) {
        const at = socket.deserializeAttachment();
        socket.serializeAttachment({ ...at, openedAt: at.openedAt - ms });
      }
    });
  }
}

/** Lets time pass until so many milliseconds after now, as the clock on the wall has it. */
async function passTime(aheadMs: number, objects: readonly DurableObjectStub[]): Promise<void> {
  vi.restoreAllMocks();
  await passTimeTo(Date.now() + aheadMs, objects);
}

async function present(room: string): Promise<string[]> {
  return (await roomOf(room).presence()).users.map(({ user_id }) => user_id).sort();
}

/** Pings, and waits until the runtime has seen that. */
async function ping(socket: TestSocket, text: string): Promise<void> {
  socket.send(text);
  socket.send({ type: "ping", ref: "last" });
  await socket.next("pong");
}

describe("a client that pings and then falls silent", () => {
  it("on `/ws` is closed after 3 minutes, and its user leaves the rooms; those who only listen stay (R19, R19a)", async () => {
    const room = freshRoom();
    const silent = await connectUser("silent", ANY);
    const listener = await connectUser("listener", ANY);
    const writer = await connectUser("writer", ANY);
    for (const socket of [silent, listener, writer]) await subscribe(socket, room);
    await hibernateGateways();
    await age(gateways(), 20_000);
    await hibernateGateways();
    await ping(silent, "ping");
    await passTime(2 * MINUTE, gateways());
    await ping(writer, "ping");
    await passTime(4 * MINUTE, gateways());
    expect((await silent.closed).code).toBe(1001);
    await passTime(4 * MINUTE + 10_000, gateways());
    await expect.poll(() => present(room)).toEqual(["listener", "writer"]);
  });

  it("on a room's own socket is closed after 3 minutes, and its user leaves (R19)", async () => {
    const room = freshRoom();
    const path = `/api/rooms/${room}/ws?token=`;
    const silent = await TestSocket.open(path + (await userToken("silent", ANY)));
    const listener = await TestSocket.open(path + (await userToken("listener", ANY)));
    await silent.next("connection");
    await listener.next("connection");
    await age([objectOf(room)], 20_000);
    await evictDurableObject(objectOf(room));
    await ping(silent, "ping");
    await passTime(4 * MINUTE, [objectOf(room)]);
    expect((await silent.closed).code).toBe(1001);
    await passTime(4 * MINUTE + 10_000, [objectOf(room)]);
    await expect.poll(() => present(room)).toEqual(["listener"]);
  });

  it("on a space's socket is closed after 3 minutes, and its job is canceled if it asked for that (S21, S11)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const submitter = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    const other = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    for (const socket of [submitter, other]) await socket.next("space.status");
    submitter.send({ type: "submit", ref: 1, input: {}, cancel_on_disconnect: true });
    await submitter.next("accepted");
    await worker.next("job");
    await age([spaceObjectOf(space)], 200_000);
    await evictDurableObject(spaceObjectOf(space));
    submitter.send("ping");
    worker.send("ping");
    submitter.send({ type: "follow", job_id: `${space.name}.none` });
    await submitter.next("error");
    for (let s = 20; s <= 240; s += 20) {
      // The worker stays: it is heard before its lease is over.
      worker.send({ type: "load", load: 0 });
      other.send({ type: "follow", ref: s, job_id: `${space.name}.${"0".repeat(26)}` });
      await other.next((frame) => frame.ref === s);
      await passTime(s * 1_000, [spaceObjectOf(space)]);
    }
    expect((await submitter.closed).code).toBe(1001);
    expect(await worker.next("cancel")).toMatchObject({ attempt: 1 });
    other.send({ type: "follow", job_id: `${space.name}.none` });
    await other.next("error");
  });
});
