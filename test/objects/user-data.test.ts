import { env, exports } from "cloudflare:workers";
import type { JWTPayload } from "jose";
import { describe, expect, test } from "vitest";
import { UserSpaces } from "../../src/catalog/user-spaces.ts";
import { FILES_PREFIX } from "../../src/files/file-keys.ts";
import { callAs, makeMember, OWN_PAGE, PASSWORD, type SignedIn } from "./accounts-support.ts";
import { makeJob, readJob } from "./backend-jobs-support.ts";
import { publish, userToken } from "./rooms-support.ts";
import { call, expectStatus, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

interface JobList {
  jobs: { id: string; user: string }[];
  next_cursor: string | null;
}

/** Submits a job with a file, as the person's browser would. */
async function submitAs(person: SignedIn, space: string): Promise<string> {
  const form = new FormData();
  form.set("audio", new File(["sound"], "a.wav", { type: "audio/wav" }));
  const headers = { ...OWN_PAGE, cookie: person.cookie, "cf-connecting-ip": person.address };
  const response = await exports.default.fetch(`https://localhost/api/spaces/${space}/jobs`, {
    method: "POST",
    body: form,
    headers,
  });
  return (await (await expectStatus(202, response)).json<{ id: string }>()).id;
}

function makeAudioSpace() {
  return makeSpace({ enable_audio: true, offline: "queue" });
}

async function listOf(person: SignedIn, query = ""): Promise<JobList> {
  const response = await callAs(person, "GET", `/api/me/jobs${query}`);
  return (await expectStatus(200, response)).json<JobList>();
}

async function asUser(user: string, claims: JWTPayload = {}) {
  return { authorization: `Bearer ${await userToken(user, claims)}` };
}

async function eraseMe(person: SignedIn, password = PASSWORD): Promise<Response> {
  return callAs(person, "DELETE", "/api/me", { password });
}

/** Whether the job exists, for the operator. */
async function exists(id: string): Promise<boolean> {
  const { status } = await call("GET", `/api/jobs/${id}`, undefined, OPERATOR);
  if (status === 200 || status === 404) return status === 200;
  throw new Error(`unexpected ${status}`);
}

async function filesOf(space: string): Promise<number> {
  return (await env.FILES.list({ prefix: `${FILES_PREFIX}${space}/` })).objects.length;
}

async function eventsOf(user: string): Promise<unknown[]> {
  const path = `/api/rooms/user:${user}/history`;
  const answer = await expectStatus(200, await call("GET", path, undefined, OPERATOR));
  return (await answer.json<{ events: unknown[] }>()).events;
}

describe("the jobs of a user", () => {
  test("are listed across spaces, newest first, page by page, and nobody else's (U1)", async () => {
    const [ann, ben] = [await makeMember(), await makeMember()];
    const spaces = [await makeAudioSpace(), await makeAudioSpace()];
    const ids: string[] = [];
    for (const n of [0, 1, 0, 1, 0]) {
      ids.unshift(await submitAs(ann, spaces[n]?.name ?? ""));
      await submitAs(ben, spaces[n]?.name ?? "");
    }
    const first = await listOf(ann, "?limit=3");
    expect(first.jobs.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    const second = await listOf(ann, `?limit=3&cursor=${first.next_cursor}`);
    expect(second.jobs.map(({ id }) => id)).toEqual(ids.slice(3));
    expect(second.next_cursor).toBe(null);
    expect((await listOf(ben)).jobs.map(({ user }) => user)).toEqual(Array(5).fill(ben.id));
    const asAdmin = await call("GET", `/api/users/${ann.id}/jobs`, undefined, OPERATOR);
    expect((await asAdmin.json<JobList>()).jobs.map(({ id }) => id)).toEqual(ids);
  });

  test("are listed for the holder of a user's token, those that a backend made for them included (U1)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const user = `alice-${crypto.randomUUID()}`;
    const made = await call(
      "POST",
      `/api/spaces/${space.name}/jobs`,
      { input: {}, user },
      OPERATOR,
    );
    const { id } = await made.json<{ id: string }>();
    const list = await call("GET", "/api/me/jobs", undefined, await asUser(user));
    expect((await list.json<JobList>()).jobs.map((job) => job.id)).toEqual([id]);
  });

  test("that came over a socket are listed, too (U1)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const headers = await asUser(`bob-${crypto.randomUUID()}`, { spaces: [space.name] });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`, headers);
    socket.send({ type: "submit", ref: 1, input: {} });
    const { job_id } = await socket.next("accepted");
    const list = await call("GET", "/api/me/jobs", undefined, headers);
    expect((await list.json<JobList>()).jobs.map(({ id }) => id)).toEqual([job_id]);
  });

  test("are listed for nobody else (U1)", async () => {
    const member = await makeMember();
    await problemOf(401, call("GET", "/api/me/jobs"));
    await problemOf(401, call("GET", "/api/me/jobs", undefined, OPERATOR));
    await problemOf(422, callAs(member, "GET", "/api/me/jobs?cursor=x"));
    for (const path of ["jobs", "export"]) {
      await problemOf(403, callAs(member, "GET", `/api/users/${member.id}/${path}`));
    }
  });
});

describe("what the edge stores of a user", () => {
  test("is exported as one JSON file: account, jobs of all kinds, and the events of their room (U2)", async () => {
    const [ann, ben] = [await makeMember(), await makeMember()];
    const space = await makeAudioSpace();
    const id = await submitAs(ann, space.name);
    await submitAs(ben, space.name);
    const other = await makeJob({ user: ann.id, visibility: "private" });
    await publish(`user:${ann.id}`, "note.sent", { text: "for ann" });
    const response = await expectStatus(200, await callAs(ann, "GET", "/api/me/export"));
    expect(response.headers.get("content-disposition")).toContain("attachment");
    expect(await response.json()).toMatchObject({
      user: ann.id,
      account: { email: ann.email },
      jobs: [{ id, files: [{ name: "a.wav" }] }, { id: other }],
      events: [{ type: "note.sent", data: { text: "for ann" } }],
    });
  });

  test("is erased with the account, and nothing of anybody else (U3)", async () => {
    const [ann, ben] = [await makeMember(), await makeMember()];
    const space = await makeAudioSpace();
    const ids = [await submitAs(ann, space.name), await submitAs(ann, space.name)];
    const kept = await submitAs(ben, space.name);
    const other = await makeJob({ user: ann.id });
    for (const { id } of [ann, ben]) await publish(`user:${id}`, "note.sent");
    const made = await callAs(ann, "POST", "/api/keys", { name: "mine", scopes: ["jobs:read"] });
    const { key } = await made.json<{ key: string }>();
    expect(await filesOf(space.name)).toBe(3);
    await problemOf(422, eraseMe(ann, "not the password"));
    expect(await exists(ids[0] ?? "")).toBe(true);
    await expectStatus(204, await eraseMe(ann));
    for (const id of ids) expect(await exists(id)).toBe(false);
    expect(await filesOf(space.name)).toBe(1);
    await problemOf(404, call("GET", `/api/jobs/${other}`, undefined, OPERATOR));
    expect(await eventsOf(ann.id)).toEqual([]);
    expect(await (await callAs(ann, "GET", "/api/me")).json()).toEqual({ user: null });
    const withKey = { authorization: `Bearer ${key}` };
    await problemOf(401, call("GET", "/api/me/jobs", undefined, withKey));
    expect(await new UserSpaces(env.DB).of(ann.id)).toEqual([]);
    expect(await exists(kept)).toBe(true);
    expect(await eventsOf(ben.id)).toHaveLength(1);
    expect((await listOf(ben)).jobs).toHaveLength(1);
  });

  test("is erased by an admin, also if only tokens name the user (U3)", async () => {
    const user = `carol-${crypto.randomUUID()}`;
    const job = await makeJob({ user });
    expect((await readJob(job)).user).toBe(user);
    await expectStatus(204, await call("DELETE", `/api/users/${user}`, undefined, OPERATOR));
    await problemOf(404, call("GET", `/api/jobs/${job}`));
    const again = await call("DELETE", `/api/users/${user}`, undefined, OPERATOR);
    expect(again.status).toBe(204);
  });

  test("stays as long as the user owns a space, or is the last admin (U3)", async () => {
    const owner = await makeMember("admin");
    const name = `mine-${crypto.randomUUID().slice(0, 8)}`;
    await expectStatus(201, await callAs(owner, "POST", "/api/spaces", { name }));
    const refusal = await problemOf(409, eraseMe(owner));
    expect(refusal).toMatchObject({ code: "owns_spaces", detail: expect.stringContaining(name) });
    await expectStatus(204, await callAs(owner, "DELETE", `/api/spaces/${name}`));
    expect(await problemOf(409, eraseMe(owner))).toMatchObject({ code: "last_admin" });
    const second = await makeMember("admin");
    await expectStatus(204, await eraseMe(owner));
    await problemOf(409, eraseMe(second));
  });

  test("loses what it may do with others' spaces (U3)", async () => {
    const ann = await makeMember();
    const space = await makeSpace({ visibility: "private" });
    const path = `/api/spaces/${space.name}/members`;
    await call("PUT", `${path}/${ann.id}`, { access: "use" }, OPERATOR);
    await expectStatus(204, await eraseMe(ann));
    const members = await call("GET", path, undefined, OPERATOR);
    expect(await members.json()).toMatchObject({ members: [] });
  });
});
