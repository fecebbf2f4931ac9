import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { callAs, makeKey, makeMember, withKey } from "./accounts-support.ts";
import { objectOf, userToken } from "./rooms-support.ts";
import { call, expectStatus, OPERATOR, problemOf, TestSocket } from "./support.ts";

interface List {
  rooms: { room: string; first_event_at: string }[];
  next_cursor: string | null;
}

const kind = () => `k${crypto.randomUUID().slice(0, 8)}`;

async function list(query: string): Promise<List> {
  const answer = await expectStatus(
    200,
    await call("GET", `/api/rooms?${query}`, undefined, OPERATOR),
  );
  return answer.json<List>();
}

const namesOf = async (prefix: string) =>
  (await list(`prefix=${prefix}`)).rooms.map(({ room }) => room);

async function publish(room: string, id?: string): Promise<{ offset: number }> {
  const event = { type: "note.added", data: {}, ...(id === undefined ? {} : { id }) };
  const made = await call("POST", `/api/rooms/${room}/events`, event, OPERATOR);
  return (await expectStatus(201, made)).json<{ offset: number }>();
}

async function historyOf(room: string): Promise<{ offset: number; events: object[] }> {
  const answer = await call("GET", `/api/rooms/${room}/history`, undefined, OPERATOR);
  return answer.json();
}

test("rooms with events are listed by name, in pages (R20)", async () => {
  const prefix = kind();
  for (const id of ["b", "a", "c"]) await publish(`${prefix}:${id}`);
  await publish(`user:${prefix}`);
  const names = ["a", "b", "c"].map((id) => `${prefix}:${id}`);
  await expect.poll(() => namesOf(`${prefix}:`)).toEqual(names);
  await expect.poll(() => namesOf(`user:${prefix}`)).toEqual([`user:${prefix}`]);
  const first = await list(`prefix=${prefix}&limit=2`);
  expect(first.next_cursor).toBe(`${prefix}:b`);
  const rest = await list(`prefix=${prefix}&limit=2&cursor=${first.next_cursor}`);
  expect([rest.rooms.map(({ room }) => room), rest.next_cursor]).toEqual([[`${prefix}:c`], null]);
  expect(Date.parse(rest.rooms[0]?.first_event_at ?? "")).toBeGreaterThan(Date.now() - 60_000);
});

test("a room that is only followed or read is not listed, and the list is written once (R20a)", async () => {
  const prefix = kind();
  const room = `${prefix}:1`;
  const socket = await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
  await historyOf(`${prefix}:2`);
  await publish(room);
  await expect.poll(() => namesOf(prefix)).toEqual([room]);
  socket.close();
  // Another event, also after hibernation, writes nothing: a row that is gone stays gone.
  await runInDurableObject(objectOf(room), async (_, state) => {
    expect(state.storage.kv.get(`listed:${room}`)).toBe(true);
  });
  await env.DB.prepare("DELETE FROM rooms WHERE name = ?").bind(room).run();
  await evictDurableObject(objectOf(room));
  await publish(room);
  expect(await namesOf(prefix)).toEqual([]);
});

test("a cleared room has no events, and those who follow it go on with the next one (R20b)", async () => {
  const prefix = kind();
  for (const room of [`${prefix}:1`, `user:${prefix}`]) {
    const socket = await TestSocket.open(`/api/rooms/${room}/ws`, OPERATOR);
    await publish(room, "same");
    await publish(room);
    await expect.poll(() => namesOf(room)).toEqual([room]);
    const cleared = await call("DELETE", `/api/rooms/${room}`, undefined, OPERATOR);
    expect(cleared.status).toBe(204);
    expect(await namesOf(room)).toEqual([]);
    expect(await historyOf(room)).toMatchObject({ offset: 2, events: [] });
    // An id is free again, and the offset is not one that was given out before.
    expect(await publish(room, "same")).toMatchObject({ offset: 3 });
    await socket.next((frame) => frame.offset === 3);
    await expect.poll(() => namesOf(room)).toEqual([room]);
    const late = await call("DELETE", `/api/rooms/${room}/events`, undefined, OPERATOR);
    expect(late.status).toBe(204);
  }
});

test("clearing a room that nobody has used makes nothing (R20b)", async () => {
  const room = `${kind()}:1`;
  expect((await call("DELETE", `/api/rooms/${room}`, undefined, OPERATOR)).status).toBe(204);
  await runInDurableObject(objectOf(room), async (_, state) => {
    expect([...state.storage.kv.list()]).toEqual([]);
  });
});

test("only admins list and clear rooms, and the record says who did (R20c)", async () => {
  const room = `${kind()}:1`;
  await publish(room);
  const [admin, member] = [await makeMember("admin"), await makeMember()];
  const key = withKey(await makeKey(admin, { scopes: ["rooms:publish:*", "spaces:admin"] }));
  const token = { authorization: `Bearer ${await userToken("ann", { publish: ["*"] })}` };
  for (const [method, path] of [
    ["GET", "/api/rooms"],
    ["DELETE", `/api/rooms/${room}`],
    ["DELETE", `/api/rooms/${room}/events`],
  ] as const) {
    await problemOf(401, call(method, path));
    await problemOf(403, callAs(member, method, path));
    await problemOf(403, call(method, path, undefined, key));
    await problemOf(403, call(method, path, undefined, token));
  }
  expect((await historyOf(room)).events).toHaveLength(1);
  expect((await callAs(admin, "DELETE", `/api/rooms/${room}`)).status).toBe(204);
  const audit = await call("GET", `/api/audit?target=room:${room}`, undefined, OPERATOR);
  expect(await audit.json()).toMatchObject({
    entries: [{ action: "room.clear", actor: admin.id, target: `room:${room}` }],
  });
});
