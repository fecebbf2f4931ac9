import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { tokenOf } from "../support/tokens.ts";
import { callAs, makeKey, makeMember, OWN_PAGE, type SignedIn } from "./accounts-support.ts";
import { connectUser, subscribe } from "./rooms-support.ts";
import { call, connectWorker, expectStatus, makeSpace, OPERATOR, TestSocket } from "./support.ts";

/** Opens a socket with the session of somebody. */
async function openAs(person: SignedIn, path: string): Promise<TestSocket> {
  const headers = { upgrade: "websocket", ...OWN_PAGE };
  const response = await callAs(person, "GET", path, undefined, headers);
  await expectStatus(101, response);
  return new TestSocket(response.webSocket as WebSocket);
}

const codeOf = async (answer: Promise<Response>) =>
  (await (await answer).json<{ code?: string }>()).code ?? "ok";

async function submitAs(person: SignedIn, space: string, more: object = {}): Promise<string> {
  const body = { input: {}, ...more };
  const answer = await callAs(person, "POST", `/api/spaces/${space}/jobs`, body);
  return (await (await expectStatus(202, answer)).json<{ id: string }>()).id;
}

test("a space is shared with a member, by session, key and token, and taken back at once (H1b, H1c, H1d, H1g, H1l)", async () => {
  const [ann, ben] = [await makeMember(), await makeMember()];
  const { name, token } = await makeSpace({ visibility: "private", offline: "queue" });
  const space = `/api/spaces/${name}`;
  await expectStatus(200, await call("PATCH", space, { owner: ann.id }, OPERATOR));
  expect(await codeOf(callAs(ben, "GET", space))).toBe("space_not_found");
  expect(await codeOf(callAs(ben, "PUT", `${space}/members/${ben.id}`, { access: "use" }))).toBe(
    "space_not_found",
  );
  const put = await callAs(ann, "PUT", `${space}/members/${ben.email}`, { access: "use" });
  expect(await put.json()).toMatchObject({ user: ben.id, access: "use" });
  const listed = await (await callAs(ben, "GET", `/api/spaces?cursor=${name.slice(0, -1)}`)).json<{
    spaces: { name: string }[];
  }>();
  expect(listed.spaces.map((listed) => listed.name)).toContain(name);
  const made = await callAs(ben, "POST", "/api/keys", { name: "k", scopes: ["jobs:read"] });
  const { key } = await made.json<{ key: string }>();
  const byKey = { authorization: `Bearer ${key}` };
  await expectStatus(200, await call("GET", space, undefined, byKey));
  expect(await codeOf(call("POST", `${space}/jobs`, { input: {} }, byKey))).toBe("not_allowed");
  const byToken = async (spaces: string[]) => ({
    authorization: `Bearer ${await tokenOf(env.JWT_SECRET ?? "", "zoe", { spaces })}`,
  });
  await expectStatus(200, await call("GET", space, undefined, await byToken([name])));
  const elsewhere = await byToken(["other"]);
  expect(await codeOf(call("GET", space, undefined, elsewhere))).toBe("space_not_found");
  expect(await codeOf(call("POST", `${space}/jobs`, { input: {} }, elsewhere))).toBe(
    "space_not_found",
  );
  const { socket: worker } = await connectWorker({ name, token });
  const watcher = await openAs(ben, `${space}/ws`);
  await watcher.next("space.status");
  const id = await submitAs(ben, name);
  expect(await worker.next("job")).toMatchObject({ job_id: id, user: ben.id });
  await expectStatus(204, await callAs(ann, "DELETE", `${space}/members/${ben.id}`));
  expect((await watcher.closed).code).toBe(4401);
  expect(await codeOf(callAs(ben, "GET", space))).toBe("space_not_found");
  // It stays theirs.
  await expectStatus(200, await callAs(ben, "GET", `/api/jobs/${id}`));
});

test("a job that a backend makes for alice is hers on every door, and nobody else's (H1e, H1j)", async () => {
  const { name } = await makeSpace({ visibility: "private", offline: "queue" });
  const submit = { input: {}, user: "alice" };
  const made = await call("POST", `/api/spaces/${name}/jobs`, submit, OPERATOR);
  const { id } = await (await expectStatus(202, made)).json<{ id: string }>();
  const room = `job:${id}`;
  const [alice, bob] = [await connectUser("alice"), await connectUser("bob", { rooms: ["*"] })];
  expect(await subscribe(alice, room)).toMatchObject({ room });
  bob.send({ type: "subscribe", room });
  expect(await bob.next("error")).toMatchObject({ code: "job_not_found", room });
  const bearer = async (user: string) => ({
    authorization: `Bearer ${await tokenOf(env.JWT_SECRET ?? "", user)}`,
  });
  const read = async (user: string, path = "") =>
    codeOf(call("GET", `/api/jobs/${id}${path}`, undefined, await bearer(user)));
  expect([await read("alice"), await read("bob")]).toEqual(["ok", "job_not_found"]);
  expect(await read("bob", "/events")).toBe("job_not_found");
  await expectStatus(
    200,
    await call("POST", `/api/jobs/${id}/cancel`, undefined, await bearer("alice")),
  );
  expect(await alice.next(({ status }) => status === "canceled")).toMatchObject({ room });
});

test("whoever may see a job of a space that is closed to them can ask for its status (H1e, H1h, F3)", async () => {
  const [ann, ben] = [await makeMember(), await makeMember()];
  const { name } = await makeSpace({ visibility: "private", offline: "queue" });
  const members = `/api/spaces/${name}/members/${ben.id}`;
  await expectStatus(200, await call("PUT", members, { access: "use" }, OPERATOR));
  const id = await submitAs(ben, name);
  const share = await callAs(ben, "POST", `/api/jobs/${id}/share`);
  const { token } = await share.json<{ token: string }>();
  await expectStatus(204, await call("DELETE", members, undefined, OPERATOR));
  const path = `/websockets/status?request_id=${id}`;
  const hidden = { request_id: id, status: "queued", connected: null, queue_size: null };
  expect(await (await callAs(ben, "GET", path)).json()).toMatchObject(hidden);
  expect(await (await call("GET", `${path}&share=${token}`)).json()).toMatchObject(hidden);
  expect(await codeOf(callAs(ann, "GET", path))).toBe("job_not_found");
});

test("a key for one space takes its owner out of no other (H1c, H1l)", async () => {
  const ben = await makeMember();
  const [one, other] = [await makeSpace(), await makeSpace()];
  const made = { name: "k", scopes: ["spaces:admin"], space: one.name };
  const { key } = await makeKey(ben, made);
  const byKey = { authorization: `Bearer ${key}` };
  for (const { name } of [one, other]) {
    const member = `/api/spaces/${name}/members/${ben.id}`;
    await expectStatus(200, await call("PUT", member, { access: "use" }, OPERATOR));
    const left = await call("DELETE", member, undefined, byKey);
    await expectStatus(name === one.name ? 204 : 403, left);
  }
});

test("a link shows a job to anybody, also as a stream, until it is withdrawn (H1h, H1i)", async () => {
  const ann = await makeMember();
  const { name } = await makeSpace({ offline: "queue" });
  const id = await submitAs(ann, name);
  const path = `/api/jobs/${id}`;
  expect(await codeOf(call("GET", path))).toBe("job_not_found");
  const shared = await callAs(ann, "POST", `${path}/share`);
  const { token } = await (await expectStatus(201, shared)).json<{ token: string }>();
  await expectStatus(200, await call("GET", path, undefined, { "job-share": token }));
  const guest = await TestSocket.open(`${path}/ws?share=${token}`);
  await guest.next("progress");
  await expectStatus(204, await callAs(ann, "DELETE", `${path}/share`));
  expect((await guest.closed).code).toBe(4401);
  expect(await codeOf(call("GET", path, undefined, { "job-share": token }))).toBe("job_not_found");
  await expectStatus(204, await callAs(ann, "DELETE", path));
  expect(await codeOf(callAs(ann, "GET", path))).toBe("job_not_found");
});
