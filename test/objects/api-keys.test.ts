import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { callAs, type Key, makeKey, makeMember, withKey } from "./accounts-support.ts";
import { call, expectStatus, OPERATOR, problemOf } from "./support.ts";

const room = () => `project:${crypto.randomUUID()}`;
const publish = (key: Key, to: string) =>
  call("POST", `/api/rooms/${to}/events`, { type: "note.added", data: {} }, withKey(key));

test("a key is shown once; what is stored and listed can't be used", async () => {
  const member = await makeMember();
  const made = await makeKey(member, { scopes: ["jobs:read"] });
  expect(made.key).toMatch(/^dok_[\w-]{43}$/);
  const listed = await (await callAs(member, "GET", "/api/keys")).json<{ keys: object[] }>();
  expect(listed.keys).toMatchObject([
    { id: made.id, prefix: made.key.slice(0, 10), user: member.id },
  ]);
  const { results } = await env.DB.prepare("SELECT * FROM api_keys").all();
  expect(JSON.stringify([listed, results])).not.toContain(made.key);
});

test("an admin's key publishes to the rooms that its scopes name, and to no others", async () => {
  const key = await makeKey(null, { scopes: ["rooms:publish:project:*"] });
  expect((await publish(key, room())).status).toBe(201);
  await problemOf(403, publish(key, "agent:1"));
  await problemOf(403, call("GET", "/api/rooms/project:1/history", undefined, withKey(key)));
});

test("a key follows the rooms that its scopes name, and never more than its owner may", async () => {
  const member = await makeMember();
  const key = await makeKey(member, { scopes: ["rooms:read:*"] });
  const read = (of: string) => call("GET", `/api/rooms/${of}/history`, undefined, withKey(key));
  expect((await read(`user:${member.id}`)).status).toBe(200);
  await problemOf(403, read("project:1"));
});

test("a member's key can't have what only an admin's could use", async () => {
  const member = await makeMember();
  for (const scope of ["metrics:read", "rooms:publish:global"]) {
    const body = { name: "too much", scopes: [scope] };
    expect(await problemOf(403, callAs(member, "POST", "/api/keys", body))).toMatchObject({
      code: "not_allowed",
    });
  }
});

test("an unknown scope is refused with those there are", async () => {
  const answer = call("POST", "/api/keys", { name: "x", scopes: ["everything"] }, OPERATOR);
  const { detail } = await problemOf(422, answer);
  expect(detail).toContain("jobs:write");
});

test("a revoked key is good for nothing from then on", async () => {
  const key = await makeKey(null, { scopes: ["rooms:publish:*"] });
  expect((await publish(key, room())).status).toBe(201);
  await expectStatus(204, await call("DELETE", `/api/keys/${key.id}`, undefined, OPERATOR));
  expect(await problemOf(401, publish(key, room()))).toMatchObject({ code: "not_authenticated" });
});

test("an expired key is refused", async () => {
  const key = await makeKey(null, { scopes: ["rooms:publish:*"], expires_in_s: 60 });
  await env.DB.prepare("UPDATE api_keys SET expires_at = ? WHERE id = ?")
    .bind(Date.now() - 1, key.id)
    .run();
  await problemOf(401, publish(key, room()));
});

test("the keys of a disabled account are refused", async () => {
  const member = await makeMember();
  const key = await makeKey(member, { scopes: ["rooms:read:*"] });
  const read = () => call("GET", `/api/rooms/user:${member.id}/history`, undefined, withKey(key));
  expect((await read()).status).toBe(200);
  await call("PATCH", `/api/users/${member.id}`, { disabled: true }, OPERATOR);
  await problemOf(401, read());
});

test("the last use is written at most once a minute", async () => {
  const key = await makeKey(null, { scopes: ["rooms:publish:*"] });
  const lastUse = () =>
    env.DB.prepare("SELECT last_used_at FROM api_keys WHERE id = ?")
      .bind(key.id)
      .first("last_used_at");
  await publish(key, room());
  await expect.poll(lastUse).not.toBeNull();
  const first = await lastUse();
  await publish(key, room());
  await publish(key, room());
  expect(await lastUse()).toBe(first);
});

test("nobody sees or revokes another's keys; a key makes none", async () => {
  const [alice, bob] = [await makeMember(), await makeMember()];
  const key = await makeKey(alice, { scopes: ["jobs:read"] });
  expect(await (await callAs(bob, "GET", "/api/keys")).json()).toMatchObject({ keys: [] });
  await problemOf(404, callAs(bob, "DELETE", `/api/keys/${key.id}`));
  const body = { name: "another", scopes: ["jobs:read"] };
  await problemOf(403, call("POST", "/api/keys", body, withKey(key)));
  await problemOf(401, call("POST", "/api/keys", body));
});

test("nobody has more than a hundred keys: each may do as much as its owner", async () => {
  const member = await makeMember();
  const row = `INSERT INTO api_keys (id, name, prefix, user_id, scopes, created_at, hash)
    VALUES (?, 'n', 'dok_', ?, '[]', 0, ?)`;
  const rows = Array.from({ length: 99 }, () => {
    const id = crypto.randomUUID();
    return env.DB.prepare(row).bind(id, member.id, id);
  });
  await env.DB.batch(rows);
  const last = await makeKey(member, { scopes: ["jobs:read"] });
  const body = { name: "one more", scopes: ["jobs:read"] };
  await problemOf(403, callAs(member, "POST", "/api/keys", body));
  expect((await callAs(member, "DELETE", `/api/keys/${last.id}`)).status).toBe(204);
  await makeKey(member, { scopes: ["jobs:read"] });
});
