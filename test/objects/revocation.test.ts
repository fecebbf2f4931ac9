import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { holderOf, userHolder } from "../../src/auth/credential.ts";
import { socketHeaders } from "../../src/objects/socket-request.ts";
import {
  callAs,
  cookiesOf,
  makeMember,
  OWN_PAGE,
  PASSWORD,
  type SignedIn,
} from "./accounts-support.ts";
import { freshId, makeJob } from "./backend-jobs-support.ts";
import { objectOf as roomObjectOf } from "./rooms-support.ts";
import { call, connectWorker, expectStatus, makeSpace, OPERATOR, TestSocket } from "./support.ts";

/** Sends a request with a session or key. */
type Send = (path: string, headers?: Record<string, string>) => Promise<Response>;

const upgrade = { upgrade: "websocket" };
const withSession =
  (account: SignedIn): Send =>
  (path, headers = {}) =>
    callAs(account, "GET", path, undefined, { ...OWN_PAGE, ...headers });
const withKey =
  (key: string): Send =>
  (path, headers = {}) =>
    call("GET", path, undefined, { authorization: `Bearer ${key}`, ...headers });

async function makeKey(owner: SignedIn, scopes: string[]): Promise<{ id: string; key: string }> {
  const made = await callAs(owner, "POST", "/api/keys", { name: "for a test", scopes });
  return (await expectStatus(201, made)).json<{ id: string; key: string }>();
}

/** Another session of the same person. */
async function signInAgain(account: SignedIn): Promise<SignedIn> {
  const { email, address } = account;
  const body = { email, password: PASSWORD };
  const answer = await callAs({ address }, "POST", "/api/auth/sign-in", body);
  return { ...account, cookie: cookiesOf(await expectStatus(200, answer)) };
}

async function sessionIdOf(account: SignedIn): Promise<string> {
  const answer = await callAs(account, "GET", "/api/me/sessions");
  const { sessions } = await answer.json<{ sessions: { id: string; current: boolean }[] }>();
  return sessions.find(({ current }) => current)?.id ?? "";
}

async function openSocket(send: Send, path: string): Promise<TestSocket> {
  const { webSocket, status } = await send(path, upgrade);
  if (!webSocket) throw new Error(`${path}: ${status}`);
  return new TestSocket(webSocket);
}

/** Opens one socket at each kind of object, and waits until each has been sent something. */
async function openAll(send: Send, userId: string): Promise<Record<string, TestSocket>> {
  const { name } = await makeSpace();
  const sockets = {
    space: await openSocket(send, `/api/spaces/${name}/ws`),
    room: await openSocket(send, `/api/rooms/user:${userId}/ws`),
    gateway: await openSocket(send, "/ws"),
    job: await openSocket(send, `/ws/${await makeJob()}`),
    waiting: await openSocket(send, `/ws/${freshId()}`),
    monitor: await openSocket(send, "/ws/monitor"),
  };
  await sockets.gateway.next("connection.established");
  for (const socket of Object.values(sockets))
    await expect.poll(() => socket.unread).not.toEqual([]);
  return sockets;
}

async function closesOf(sockets: Record<string, TestSocket>): Promise<Record<string, number>> {
  const closes = Object.entries(sockets).map(
    async ([kind, { closed }]) => [kind, (await closed).code] as const,
  );
  return Object.fromEntries(await Promise.all(closes));
}

const ALL_CLOSED = {
  space: 4401,
  room: 4401,
  gateway: 4401,
  job: 4401,
  waiting: 4401,
  monitor: 4401,
};

/** Whether the sockets still are what they were: each answers, or has not closed. */
async function expectOpen(sockets: Record<string, TestSocket>): Promise<void> {
  for (const kind of ["room", "gateway", "job", "monitor"]) {
    const socket = sockets[kind];
    const ref = crypto.randomUUID();
    socket?.send({ type: "ping", ...(kind === "monitor" ? {} : { ref }) });
    await socket?.next("pong");
  }
}

const KEY_SCOPES = ["jobs:read", "rooms:read:*", "metrics:read"];

describe("every socket of a session closes with 4401", () => {
  const ends: [string, (account: SignedIn) => Promise<Response>][] = [
    [
      "when another session of the person ends it",
      async (account) => {
        const other = await signInAgain(account);
        return callAs(other, "DELETE", `/api/me/sessions/${await sessionIdOf(account)}`);
      },
    ],
    [
      "when the person ends all other sessions",
      async (account) => callAs(await signInAgain(account), "DELETE", "/api/me/sessions"),
    ],
    ["when they sign out", (account) => callAs(account, "POST", "/api/auth/sign-out", {})],
    [
      "when they change the password elsewhere",
      async (account) =>
        callAs(await signInAgain(account), "POST", "/api/me/password", {
          current_password: PASSWORD,
          new_password: "another long password",
        }),
    ],
    [
      "when the account is disabled",
      ({ id }) => call("PATCH", `/api/users/${id}`, { disabled: true }, OPERATOR),
    ],
    [
      "when an admin is demoted",
      ({ id }) => call("PATCH", `/api/users/${id}`, { role: "member" }, OPERATOR),
    ],
  ];
  test.each(ends)("%s (C20)", async (_when, end) => {
    const [account, bystander] = [await makeMember("admin"), await makeMember("admin")];
    const sockets = await openAll(withSession(account), account.id);
    const others = await openAll(withSession(bystander), bystander.id);
    expect((await end(account)).status).toBeLessThan(300);
    expect(await closesOf(sockets)).toEqual(ALL_CLOSED);
    await expectOpen(others);
  });
});

describe("every socket of a key closes with 4401", () => {
  const ends: [string, (owner: SignedIn, id: string) => Promise<Response>][] = [
    ["when it is revoked", (owner, id) => callAs(owner, "DELETE", `/api/keys/${id}`)],
    [
      "when its owner is disabled",
      ({ id }) => call("PATCH", `/api/users/${id}`, { disabled: true }, OPERATOR),
    ],
    [
      "when its owner is an admin no longer",
      ({ id }) => call("PATCH", `/api/users/${id}`, { role: "member" }, OPERATOR),
    ],
  ];
  test.each(ends)("%s (C20)", async (_when, end) => {
    const [owner, bystander] = [await makeMember("admin"), await makeMember("admin")];
    const key = await makeKey(owner, KEY_SCOPES);
    const sockets = await openAll(withKey(key.key), owner.id);
    const others = await openAll(withSession(bystander), bystander.id);
    expect((await end(owner, key.id)).status).toBeLessThan(300);
    expect(await closesOf(sockets)).toEqual(ALL_CLOSED);
    await expectOpen(others);
  });

  test("of the operator when it is revoked (C20)", async () => {
    const body = { name: "of the operator", scopes: KEY_SCOPES };
    const made = await call("POST", "/api/keys", body, OPERATOR);
    const { id, key } = await (await expectStatus(201, made)).json<{ id: string; key: string }>();
    const sockets = await openAll(withKey(key), "anybody");
    await expectStatus(204, await call("DELETE", `/api/keys/${id}`, undefined, OPERATOR));
    expect(await closesOf(sockets)).toEqual(ALL_CLOSED);
  });
});

test("a key that is revoked leaves its owner's session and other keys alone (C20b)", async () => {
  const owner = await makeMember("admin");
  const [lost, kept] = [await makeKey(owner, KEY_SCOPES), await makeKey(owner, KEY_SCOPES)];
  const sockets = await openAll(withKey(lost.key), owner.id);
  const others = [
    await openAll(withKey(kept.key), owner.id),
    await openAll(withSession(owner), owner.id),
  ];
  await expectStatus(204, await callAs(owner, "DELETE", `/api/keys/${lost.id}`));
  expect(await closesOf(sockets)).toEqual(ALL_CLOSED);
  for (const sockets of others) await expectOpen(sockets);
});

test("a promotion closes nothing", async () => {
  const member = await makeMember();
  const rooms = await openSocket(withSession(member), "/ws");
  await rooms.next("connection.established");
  const admin = { role: "admin" };
  await expectStatus(200, await call("PATCH", `/api/users/${member.id}`, admin, OPERATOR));
  rooms.send({ type: "ping" });
  await rooms.next("pong");
});

test("streams of events end with the reason (C20)", async () => {
  const admin = await makeMember("admin");
  const space = await makeSpace();
  await connectWorker(space);
  const submit = { input: { prompt: "hello" } };
  const made = await call("POST", `/api/spaces/${space.name}/jobs`, submit);
  const { id } = await (await expectStatus(202, made)).json<{ id: string }>();
  const paths = [
    `/api/jobs/${id}/events`,
    `/api/jobs/${await makeJob()}/events`,
    `/api/rooms/user:${admin.id}/events`,
  ];
  const streams = await Promise.all(paths.map((path) => withSession(admin)(path)));
  const texts = streams.map((stream) => stream.text());
  const disabled = { disabled: true };
  await expectStatus(200, await call("PATCH", `/api/users/${admin.id}`, disabled, OPERATOR));
  for (const text of texts)
    expect(await text).toMatch(/event: (connection\.)?error[\s\S]*taken back/);
});

test("an admin's socket has an admin's rights (M1b)", async () => {
  const admin = await makeMember("admin");
  const rooms = await openSocket(withSession(admin), "/ws");
  rooms.send({ type: "subscribe", room: "project:secret" });
  expect(await rooms.next("subscribed")).toMatchObject({ room: "global" });
  await rooms.next(({ type, room }) => type === "subscribed" && room === "project:secret");
  const monitor = await openSocket(withSession(admin), "/ws/monitor");
  await monitor.next("system_status");
});

describe("a socket that is opened while its credential is taken back", () => {
  /** What the Worker tells a room's object about a session that it has just found good. */
  async function roomRequest(member: SignedIn) {
    const room = `user:${member.id}`;
    const principal = {
      kind: "account",
      userId: member.id,
      role: "member",
      sessionId: await sessionIdOf(member),
      expiresAt: Date.now() + 60_000,
    } as const;
    const rest = { filter: null, presence: false, batch: false, acks: false };
    const headers = socketHeaders({ kind: "room", principal, ...rest });
    return () => roomObjectOf(room).fetch(`https://room/${encodeURIComponent(room)}`, { headers });
  }

  test("is refused if the object is new to it", async () => {
    const member = await makeMember();
    const open = await roomRequest(member);
    await expectStatus(204, await callAs(member, "POST", "/api/auth/sign-out", {}));
    const answer = await open();
    expect(await answer.json()).toMatchObject({ code: "not_authenticated" });
  });

  test("is refused if the object has sockets of it", async () => {
    const member = await makeMember();
    const open = await roomRequest(member);
    const first = await open();
    first.webSocket?.accept();
    await expectStatus(204, await callAs(member, "POST", "/api/auth/sign-out", {}));
    expect(await (await open()).json()).toMatchObject({ code: "not_authenticated" });
  });

  test("is closed or refused whatever comes first (C20b)", async () => {
    const member = await makeMember();
    const open = await roomRequest(member);
    const opening = Array.from({ length: 5 }, () => open());
    const ended = callAs(member, "POST", "/api/auth/sign-out", {});
    opening.push(...Array.from({ length: 5 }, () => open()));
    await expectStatus(204, await ended);
    for (const answer of await Promise.all(opening)) {
      if (!answer.webSocket)
        expect(await answer.json()).toMatchObject({ code: "not_authenticated" });
      else expect((await new TestSocket(answer.webSocket).closed).code).toBe(4401);
    }
  });
});

describe("the holder of a session", () => {
  const holderStub = (userId: string) => env.HOLDER.getByName(userHolder(userId));
  const rowsOf = (userId: string) =>
    runInDurableObject(holderStub(userId), (_object, { storage }) =>
      storage.sql.exec("SELECT kind, due_at FROM places ORDER BY kind").toArray(),
    );

  test("ends the sockets by its alarm if the edge was killed after the change (C20a)", async () => {
    const member = await makeMember();
    const rooms = await openSocket(withSession(member), "/ws");
    await rooms.next("connection.established");
    await holderStub(member.id).expectChange();
    await env.DB.prepare('DELETE FROM session WHERE "userId" = ?').bind(member.id).run();
    await evictDurableObject(holderStub(member.id));
    await runDurableObjectAlarm(holderStub(member.id));
    expect((await rooms.closed).code).toBe(4401);
  });

  test("looks again if the change comes only after its first look", async () => {
    const member = await makeMember();
    const rooms = await openSocket(withSession(member), "/ws");
    await rooms.next("connection.established");
    await holderStub(member.id).expectChange();
    await runDurableObjectAlarm(holderStub(member.id));
    await env.DB.prepare('DELETE FROM session WHERE "userId" = ?').bind(member.id).run();
    await runDurableObjectAlarm(holderStub(member.id));
    expect((await rooms.closed).code).toBe(4401);
  });

  test("is told of the first socket at an object alone", async () => {
    const member = await makeMember();
    for (let opened = 0; opened < 3; opened++) {
      await openSocket(withSession(member), `/api/rooms/user:${member.id}/ws`);
    }
    const rows = await runInDurableObject(holderStub(member.id), (_object, { storage }) =>
      storage.sql.exec("SELECT kind, registrations FROM places").toArray(),
    );
    expect(rows).toEqual([{ kind: "room", registrations: 1 }]);
  });

  test("forgets an object without sockets, and then itself", async () => {
    const member = await makeMember();
    const room = await openSocket(withSession(member), `/api/rooms/user:${member.id}/ws`);
    await room.next("connection");
    expect(await rowsOf(member.id)).toMatchObject([{ kind: "room" }]);
    room.close();
    await room.closed;
    await runInDurableObject(holderStub(member.id), (_object, { storage }) => {
      storage.sql.exec("UPDATE places SET due_at = 0");
    });
    await runDurableObjectAlarm(holderStub(member.id));
    const tables = await runInDurableObject(holderStub(member.id), (_object, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'places'").toArray(),
    );
    expect(tables).toEqual([]);
  });

  test("keeps an object with sockets, and asks it again later", async () => {
    const member = await makeMember();
    const rooms = await openSocket(withSession(member), "/ws");
    await rooms.next("connection.established");
    await runInDurableObject(holderStub(member.id), (_object, { storage }) => {
      storage.sql.exec("UPDATE places SET due_at = 0");
    });
    await runDurableObjectAlarm(holderStub(member.id));
    const [row] = await rowsOf(member.id);
    expect(Number(row?.due_at)).toBeGreaterThan(Date.now() + 3_000_000);
    await expectStatus(204, await callAs(member, "POST", "/api/auth/sign-out", {}));
    expect((await rooms.closed).code).toBe(4401);
  });
});

test("sockets without a session or key have no holder", () => {
  expect(holderOf({ userId: null, id: "k1" })).toBe("key:k1");
  expect(holderOf({ userId: "u1", id: "k1" })).toBe("user:u1");
});
