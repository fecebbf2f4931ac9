import { afterAll, beforeAll, expect, test } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

let state: string;
let edge: RunningEdge;

beforeAll(async () => {
  state = await makeState();
  edge = await runEdge(state, await freePort());
});
afterAll(async () => {
  await edge.program.stop();
  await removeState(state);
});

const OPERATOR = { authorization: `Bearer ${operatorKey()}` };

interface Key {
  id: string;
  headers: { authorization: string };
}

async function makeKey(): Promise<Key> {
  const scopes = ["rooms:read:*", "jobs:read", "metrics:read"];
  const answer = await fetch(`${edge.url}/api/keys`, {
    method: "POST",
    headers: { ...OPERATOR, "content-type": "application/json" },
    body: JSON.stringify({ name: "a program", scopes }),
  });
  const { id, key } = (await answer.json()) as { id: string; key: string };
  return { id, headers: { authorization: `Bearer ${key}` } };
}

function revoke({ id }: Key): Promise<Response> {
  return fetch(`${edge.url}/api/keys/${id}`, { method: "DELETE", headers: OPERATOR });
}

function openAll({ headers }: Key): Promise<FrameSocket[]> {
  const paths = ["/ws", "/api/rooms/project:1/ws", "/ws/a-job-that-nobody-made", "/ws/monitor"];
  return Promise.all(paths.map((path) => FrameSocket.open(edge.url + path, headers)));
}

async function closesOf(sockets: readonly FrameSocket[]): Promise<number[]> {
  return Promise.all(sockets.map(async ({ closed }) => (await closed).code));
}

test("a key that is revoked ends its sockets and streams at once (C20)", async () => {
  const [key, kept] = [await makeKey(), await makeKey()];
  const sockets = await openAll(key);
  const others = await openAll(kept);
  const stream = await fetch(`${edge.url}/api/rooms/project:1/events`, { headers: key.headers });
  expect((await revoke(key)).status).toBe(204);
  expect(await closesOf(sockets)).toEqual([4401, 4401, 4401, 4401]);
  expect(await stream.text()).toContain("taken back");
  // A socket is refused with the reason, which a page can read.
  const late = await FrameSocket.open(`${edge.url}/ws`, key.headers);
  expect((await late.closed).code).toBe(4401);
  for (const socket of others) {
    expect(socket.isOpen).toBe(true);
    socket.close();
  }
});

test("an edge that is killed while a key is revoked leaves no socket of it open (C20a)", async () => {
  const key = await makeKey();
  const sockets = await openAll(key);
  const revoking = revoke(key).catch(() => null);
  await new Promise((resolve) => setTimeout(resolve, 10));
  await edge.program.killAll();
  await revoking;
  expect(await closesOf(sockets)).not.toContain(1000);
  edge = await runEdge(state, Number(new URL(edge.url).port));
  // Sockets that are opened before anybody repeats the revocation end with it, if it was not done before.
  const again = await openAll(key);
  expect([204, 404]).toContain((await revoke(key)).status);
  expect(await closesOf(again)).toEqual([4401, 4401, 4401, 4401]);
});
