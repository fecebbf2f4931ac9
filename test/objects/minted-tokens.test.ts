import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { app } from "../../src/http/app.ts";
import { callAs, makeMember } from "./accounts-support.ts";
import { userToken } from "./rooms-support.ts";
import { call, expectStatus, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

interface Minted {
  token: string;
  user: string;
  expires_at: string;
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const mint = (headers: Record<string, string>, body: object) =>
  call("POST", "/api/tokens", body, headers);

async function makeKey(scopes: string[], more: object = {}): Promise<Record<string, string>> {
  const made = await call("POST", "/api/keys", { name: "a backend", scopes, ...more }, OPERATOR);
  return bearer((await (await expectStatus(201, made)).json<{ key: string }>()).key);
}

test("who is signed in makes a token for their own rooms, and a socket opens with it (H26)", async () => {
  const member = await makeMember();
  const made = await callAs(member, "POST", "/api/tokens", { expires_in_s: 60 });
  const minted = await (await expectStatus(201, made)).json<Minted>();
  expect(made.headers.get("cache-control")).toBe("no-store");
  expect(minted.user).toBe(member.id);
  const left = Date.parse(minted.expires_at) - Date.now();
  expect(left).toBeGreaterThan(50_000);
  expect(left).toBeLessThan(60_001);
  const socket = await TestSocket.open("/ws", bearer(minted.token));
  expect(await socket.next("connection.established")).toMatchObject({ user_id: member.id });
});

test("a page of another origin can't have a token made for its visitor (H9)", async () => {
  const member = await makeMember();
  const other = { origin: "https://other.example" };
  await problemOf(401, callAs(member, "POST", "/api/tokens", {}, other));
});

test("a backend's key makes tokens for its users, with no more than its scopes (H26a)", async () => {
  const backend = await makeKey(["rooms:read:*", "rooms:publish:project:*"]);
  const wanted = { user: "alice", rooms: ["project:*"], publish: ["project:1"] };
  const made = await expectStatus(201, await mint(backend, wanted));
  const { token } = await made.json<Minted>();
  const publish = (room: string) =>
    call("POST", `/api/rooms/${room}/events`, { type: "note.added", data: {} }, bearer(token));
  expect((await publish("project:1")).status).toBe(201);
  await problemOf(403, publish("project:2"));
  await problemOf(403, mint(backend, { user: "alice", publish: ["agent:1"] }));
});

test("a token of a key without the scopes of jobs neither reads nor makes any (H26a)", async () => {
  const [backend, both] = [
    await makeKey(["rooms:read:*"]),
    await makeKey(["rooms:read:*", "jobs:read", "jobs:write"]),
  ];
  const { name: space } = await makeSpace({ offline: "queue" });
  const submit = (headers: Record<string, string>) =>
    call("POST", `/api/spaces/${space}/jobs`, { input: { text: "hi" } }, headers);
  const tokenOf = async (maker: Record<string, string>) =>
    bearer(
      (await (await expectStatus(201, await mint(maker, { user: "al" }))).json<Minted>()).token,
    );
  const [narrow, wide] = [await tokenOf(backend), await tokenOf(both)];
  const made = await expectStatus(202, await submit(wide));
  const { id } = await made.json<{ id: string }>();
  await problemOf(403, submit(narrow));
  await problemOf(403, call("GET", `/api/jobs/${id}`, undefined, narrow));
  await problemOf(403, call("POST", `/api/jobs/${id}/cancel`, undefined, narrow));
  await problemOf(403, call("GET", "/api/me/jobs", undefined, narrow));
  await expectStatus(200, await call("GET", "/api/me/jobs", undefined, wide));
});

test("nobody's key speaks for an account of somebody else (H26a)", async () => {
  const [member, backend] = [await makeMember(), await makeKey(["rooms:read:*"])];
  const { detail } = await problemOf(403, mint(backend, { user: member.id }));
  expect(detail).toContain("is an account");
  expect((await mint(OPERATOR, { user: member.id })).status).toBe(201);
});

test("a token does not outlive the key that made it (H26b)", async () => {
  const backend = await makeKey(["rooms:read:*"], { expires_in_s: 120 });
  const made = await expectStatus(201, await mint(backend, { user: "al", expires_in_s: 86_400 }));
  const { expires_at } = await made.json<Minted>();
  expect(Date.parse(expires_at)).toBeLessThanOrEqual(Date.now() + 120_000);
});

test("strangers and users' tokens make none", async () => {
  await problemOf(401, mint({}, {}));
  await problemOf(403, mint(bearer(await userToken("ann")), {}));
  // An address may be logged and shared.
  await problemOf(401, call("POST", `/api/tokens?token=${env.OPERATOR_KEY}`, { user: "al" }));
});

test("an edge that only checks others' tokens says who makes them (H26c)", async () => {
  const settings = { ...env, JWKS_URL: "https://accounts.example/keys" };
  const init = {
    method: "POST",
    headers: { ...OPERATOR, "content-type": "application/json" },
    body: '{"user":"al"}',
  };
  const answer = Promise.resolve(app.request("https://localhost/api/tokens", init, settings));
  expect(await problemOf(409, answer)).toMatchObject({ code: "tokens_made_elsewhere" });
});

test("the record says who made a token for whom, and not the token", async () => {
  const made = await mint(OPERATOR, { user: "recorded", rooms: ["project:1"] });
  const { token } = await made.json<Minted>();
  const audit = await call("GET", "/api/audit?target=user:recorded", undefined, OPERATOR);
  const text = await audit.text();
  expect(JSON.parse(text).entries).toMatchObject([
    { action: "token.create", actor_kind: "operator", details: { rooms: ["project:1"] } },
  ]);
  expect(text).not.toContain(token);
});

test("what is asked for is checked", async () => {
  for (const body of [
    { expires_in_s: 59 },
    { expires_in_s: 86_401 },
    { user: "a b" },
    { rooms: ["Project:1"] },
    { rooms: Array.from({ length: 101 }, () => "project:1") },
    { rooms: Array.from({ length: 100 }, (_, n) => `project:${"x".repeat(120)}${n}`) },
    { spaces: ["Not A Space"] },
    { scopes: ["jobs:read"] },
  ]) {
    await problemOf(422, mint(OPERATOR, { user: "al", ...body }));
  }
});
