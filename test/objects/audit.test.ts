import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { Audit } from "../../src/accounts/audit.ts";
import type { AuditEntry } from "../../src/protocol/accounts.ts";
import { callAs, makeMember } from "./accounts-support.ts";
import { call, makeSpace, OPERATOR, problemOf } from "./support.ts";

async function entries(query: string): Promise<AuditEntry[]> {
  const answer = await call("GET", `/api/audit?${query}`, undefined, OPERATOR);
  return (await answer.json<{ entries: AuditEntry[] }>()).entries;
}

test("what is done to a space is noted, with who, when and from where, and without secrets", async () => {
  const admin = await makeMember("admin");
  const { name, token } = await makeSpace();
  await callAs(admin, "PATCH", `/api/spaces/${name}`, { title: "New" });
  await callAs(admin, "DELETE", `/api/spaces/${name}`);
  const noted = await entries(`target=space:${name}`);
  expect(noted.map(({ action, actor_kind, actor }) => [action, actor_kind, actor])).toEqual([
    ["space.delete", "account", admin.id],
    ["space.change", "account", admin.id],
    ["worker_token.create", "operator", null],
    ["space.create", "operator", null],
  ]);
  expect(noted[0]?.address).toBe(admin.address);
  expect(noted[1]?.details).toEqual({ settings: ["title"] });
  expect(JSON.stringify(noted)).not.toContain(token);
});

test("entries are filtered by who, what and when, and paged", async () => {
  const admin = await makeMember("admin");
  for (const name of ["one", "two", "three"]) {
    await callAs(admin, "POST", "/api/keys", { name, scopes: ["jobs:read"] });
  }
  const made = await entries(`actor=${admin.id}&action=key.create`);
  expect(made.map(({ details }) => details.name)).toEqual(["three", "two", "one"]);
  const until = encodeURIComponent(new Date(Date.now() - 60_000).toISOString());
  expect(await entries(`actor=${admin.id}&until=${until}`)).toEqual([]);
  const path = `/api/audit?actor=${admin.id}&action=key.create&limit=2`;
  const first = await call("GET", path, undefined, OPERATOR);
  const { next_cursor: cursor } = await first.json<{ next_cursor: string }>();
  const rest = await entries(`actor=${admin.id}&action=key.create&cursor=${cursor}`);
  expect(rest.map(({ details }) => details.name)).toEqual(["one"]);
});

test("it can be had as CSV, in which no cell is a formula", async () => {
  const admin = await makeMember("admin");
  await callAs(admin, "POST", "/api/keys", { name: '=1+"2"', scopes: ["jobs:read"] });
  const answer = await call("GET", `/api/audit?actor=${admin.id}&format=csv`, undefined, OPERATOR);
  expect(answer.headers.get("content-type")).toMatch(/^text\/csv/);
  const [head, row] = (await answer.text()).split("\r\n");
  expect(head).toBe("id,at,actor_kind,actor,action,target,address,details");
  expect(row).toContain(`account,${admin.id},key.create`);
  expect(row).not.toMatch(/(^|,)=/);
});

test("entries are erased after their time", async () => {
  const { name } = await makeSpace();
  const old = `01${"0".repeat(24)}`;
  await env.DB.prepare("UPDATE audit SET id = ? WHERE target = ? AND action = 'space.create'")
    .bind(old, `space:${name}`)
    .run();
  expect(await entries(`target=space:${name}&action=space.create`)).toEqual([]);
  await new Audit(env).add({ kind: "operator", id: null }, "space.drain", "space:other", {
    address: "192.0.2.1",
  });
  expect(await env.DB.prepare("SELECT 1 FROM audit WHERE id = ?").bind(old).first()).toBeNull();
});

test("only admins read it, and no key does", async () => {
  const member = await makeMember();
  await problemOf(403, callAs(member, "GET", "/api/audit"));
  await problemOf(401, call("GET", "/api/audit"));
  const made = await call("POST", "/api/keys", { name: "x", scopes: ["metrics:read"] }, OPERATOR);
  const { key } = await made.json<{ key: string }>();
  const withKey = { authorization: `Bearer ${key}` };
  await problemOf(403, call("GET", "/api/audit", undefined, withKey));
  expect((await call("GET", "/metrics", undefined, withKey)).status).toBe(200);
  await problemOf(403, call("POST", "/api/spaces", { name: "by-key" }, withKey));
});
