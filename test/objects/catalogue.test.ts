import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  expectStatus,
  getJob,
  makeSpace,
  OPERATOR,
  problemOf,
  submit,
  TestSocket,
} from "./support.ts";

const WRONG_KEY = { authorization: "Bearer not-the-operator-s-key" };

function upgrade(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return call("GET", path, undefined, { upgrade: "websocket", ...headers });
}

describe("a space in the catalogue", () => {
  it("is made with the given settings and the defaults, and reads the same afterwards", async () => {
    const name = `made-${crypto.randomUUID()}`;
    const made = await call("POST", "/api/spaces", { name, title: "Painter" }, OPERATOR);
    expect([made.status, made.headers.get("location")]).toEqual([201, `/api/spaces/${name}`]);
    const body = await made.json();
    expect(body).toMatchObject({
      ...DEFAULT_SETTINGS,
      name,
      title: "Painter",
      status: { worker: "disconnected", queue_size: 0, processing: 0 },
    });
    const shown = await call("GET", `/api/spaces/${name}`, undefined, OPERATOR);
    expect(await shown.json()).toEqual(body);
  });

  it("changes only the settings that a patch names, sends them to its worker, and stores them in the catalogue (W29)", async () => {
    const { name, token } = await makeSpace({ title: "before", description: "kept" });
    const { socket: worker } = await connectWorker({ name, token });
    const patch = { title: "after", job_timeout_s: 7 };
    const patched = await call("PATCH", `/api/spaces/${name}`, patch, OPERATOR);
    expect(await patched.json()).toMatchObject({ ...patch, description: "kept" });
    expect(await worker.next("config")).toMatchObject({ config: { job_timeout_s: 7 } });
    expect(await (await call("GET", `/api/spaces/${name}`)).json()).toMatchObject(patch);
    const row = await env.DB.prepare("SELECT title, settings FROM spaces WHERE name = ?")
      .bind(name)
      .first<{ title: string; settings: string }>();
    expect(row?.title).toBe("after");
    expect(JSON.parse(row?.settings ?? "")).toMatchObject({ ...patch, description: "kept" });
  });

  it("is the only one of its name: a second one is refused and changes nothing (H3)", async () => {
    const { name } = await makeSpace({ title: "first" });
    const second = call("POST", "/api/spaces", { name, title: "second" }, OPERATOR);
    expect(await problemOf(409, second)).toMatchObject({ code: "space_exists" });
    expect(await (await call("GET", `/api/spaces/${name}`)).json()).toMatchObject({
      title: "first",
    });
  });

  it("that doesn't exist is answered 404, whatever the request (H3, W4)", async () => {
    const path = `/api/spaces/nobody-${crypto.randomUUID()}`;
    for (const answer of [
      call("GET", path),
      call("PATCH", path, { title: "x" }, OPERATOR),
      call("DELETE", path, undefined, OPERATOR),
      call("POST", `${path}/jobs`, { input: {} }),
      call("GET", `${path}/jobs`, undefined, OPERATOR),
      call("POST", `${path}/tokens`, { name: "x" }, OPERATOR),
      call("GET", `${path}/tokens`, undefined, OPERATOR),
      upgrade(`${path}/ws`),
      upgrade(`${path}/connect`),
      call("GET", "/api/spaces/No%20Such"),
    ]) {
      expect(await problemOf(404, answer)).toMatchObject({ code: "space_not_found" });
    }
  });

  it("is refused under an invalid name, and the problem names the field (H2)", async () => {
    for (const name of ["", "Upper", "-first", "a b", "a/b", "a.b", "x".repeat(64), "ä", 7, null]) {
      const { code, errors } = await problemOf(
        422,
        call("POST", "/api/spaces", { name }, OPERATOR),
      );
      expect({ code, paths: errors?.map(({ path }) => path) }).toEqual({
        code: "invalid_request",
        paths: ["name"],
      });
    }
  });

  it("accepts no unknown setting and no value out of range (H3)", async () => {
    const { name } = await makeSpace();
    const unknown = { name: `u-${crypto.randomUUID()}`, colour: "red" };
    const made = await problemOf(422, call("POST", "/api/spaces", unknown, OPERATOR));
    expect(made.detail).toContain("colour");
    const path = `/api/spaces/${name}`;
    expect((await problemOf(422, call("PATCH", path, { colour: 1 }, OPERATOR))).detail).toContain(
      "colour",
    );
    for (const [field, value] of [
      ["max_workers", 0],
      ["job_timeout_s", null],
      ["offline", "maybe"],
      ["title", 5],
    ] as const) {
      const { errors } = await problemOf(422, call("PATCH", path, { [field]: value }, OPERATOR));
      expect(errors?.map(({ path }) => path)).toEqual([field]);
    }
    expect(await problemOf(422, call("PATCH", path, {}, OPERATOR))).toMatchObject({
      code: "invalid_request",
    });
  });

  it("is changed by the operator only: without a key or with a wrong one the answer is 401 (H1, H1a)", async () => {
    const { name, tokenId } = await makeSpace();
    const path = `/api/spaces/${name}`;
    for (const headers of [{}, WRONG_KEY]) {
      for (const answer of [
        call("POST", "/api/spaces", { name: "another" }, headers),
        call("PATCH", path, { title: "x" }, headers),
        call("DELETE", path, undefined, headers),
        call("GET", `${path}/jobs`, undefined, headers),
        call("POST", `${path}/tokens`, { name: "x" }, headers),
        call("GET", `${path}/tokens`, undefined, headers),
        call("DELETE", `${path}/tokens/${tokenId}`, undefined, headers),
      ]) {
        expect(await problemOf(401, answer)).toMatchObject({ code: "not_authenticated" });
      }
    }
    for (const answer of [
      call("GET", path, undefined, WRONG_KEY),
      upgrade(`${path}/ws`, WRONG_KEY),
    ])
      await problemOf(401, answer);
  });
});

describe("the list of spaces", () => {
  async function listAll(headers: Record<string, string>): Promise<string[]> {
    const names: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const path = `/api/spaces?limit=2&cursor=${cursor}`;
      const answer = await expectStatus(200, await call("GET", path, undefined, headers));
      const page = await answer.json<{ spaces: { name: string }[]; next_cursor: string | null }>();
      expect(page.spaces.length).toBeLessThanOrEqual(2);
      names.push(...page.spaces.map(({ name }) => name));
      cursor = page.next_cursor;
    }
    return names;
  }

  it("has each space once over its pages, private ones for the operator only", async () => {
    const open = [await makeSpace(), await makeSpace(), await makeSpace()];
    const hidden = await makeSpace({ visibility: "private" });
    const forAll = await listAll({});
    const forOperator = await listAll(OPERATOR);
    for (const { name } of open) {
      expect(forAll.filter((other) => other === name)).toEqual([name]);
      expect(forOperator.filter((other) => other === name)).toEqual([name]);
    }
    expect(forAll).not.toContain(hidden.name);
    expect(forOperator.filter((other) => other === hidden.name)).toEqual([hidden.name]);
    for (const names of [forAll, forOperator]) {
      expect(names).toEqual([...new Set(names)].sort());
    }
  });

  it("follows a change of visibility", async () => {
    const { name } = await makeSpace();
    await call("PATCH", `/api/spaces/${name}`, { visibility: "private" }, OPERATOR);
    expect(await listAll({})).not.toContain(name);
    await call("PATCH", `/api/spaces/${name}`, { visibility: "public" }, OPERATOR);
    expect(await listAll({})).toContain(name);
  });

  it("refuses a page size out of range, and a wrong key (H1)", async () => {
    for (const limit of ["0", "101", "x"]) {
      const { errors } = await problemOf(422, call("GET", `/api/spaces?limit=${limit}`));
      expect(errors?.map(({ path }) => path)).toEqual(["limit"]);
    }
    await problemOf(401, call("GET", "/api/spaces", undefined, WRONG_KEY));
  });
});

describe("a private space", () => {
  it("and its jobs are for the operator only, over HTTP, streams and sockets (H1a, S2)", async () => {
    const space = await makeSpace({ visibility: "private", offline: "queue" });
    const submitted = await call(
      "POST",
      `/api/spaces/${space.name}/jobs`,
      { input: { prompt: "secret" } },
      OPERATOR,
    );
    const { id } = await (await expectStatus(202, submitted)).json<{ id: string }>();
    const paths = [`/api/spaces/${space.name}`, `/api/jobs/${id}`];
    const socketPaths = [`/api/spaces/${space.name}/ws`, `/api/jobs/${id}/ws`, `/ws/${id}`];
    for (const answer of [
      ...paths.map((path) => call("GET", path)),
      ...socketPaths.map((path) => upgrade(path)),
      call("GET", `/api/jobs/${id}/events`),
      call("POST", `/api/jobs/${id}/cancel`),
      call("POST", `/api/spaces/${space.name}/jobs`, { input: {} }),
    ]) {
      expect(await problemOf(401, answer)).toMatchObject({ code: "not_authenticated" });
    }
    for (const path of paths) await expectStatus(200, await call("GET", path, undefined, OPERATOR));
    for (const path of socketPaths) {
      expect(await (await TestSocket.open(path, OPERATOR)).next("connection")).toBeTruthy();
    }
    const events = await call("GET", `/api/jobs/${id}/events`, undefined, OPERATOR);
    expect(events.headers.get("content-type")).toContain("text/event-stream");
    await events.body?.cancel();
    const canceled = await call("POST", `/api/jobs/${id}/cancel`, undefined, OPERATOR);
    expect(await canceled.json()).toMatchObject({ status: "canceled" });
  });

  it("accepts a worker with one of its worker tokens (W2)", async () => {
    const space = await makeSpace({ visibility: "private" });
    expect((await connectWorker(space)).registered).toMatchObject({ generation: 1 });
  });
});

describe("a worker token", () => {
  it("is shown once, listed without its secret, and stored only as a hash (H4)", async () => {
    const { name } = await makeSpace();
    const path = `/api/spaces/${name}/tokens`;
    const minted = await expectStatus(201, await call("POST", path, { name: "box" }, OPERATOR));
    const { token, ...rest } = await minted.json<{ token: string; id: string }>();
    expect(token).toMatch(/^dow_[\w-]{43}$/);
    expect(rest).toMatchObject({ space: name, name: "box", last_used_at: null });
    const listed = await (await call("GET", path, undefined, OPERATOR)).json<{
      tokens: object[];
    }>();
    expect(listed.tokens).toHaveLength(2);
    expect(listed.tokens).toContainEqual(rest);
    expect(JSON.stringify(listed)).not.toContain(token);
    const { results } = await env.DB.prepare("SELECT * FROM worker_tokens").all();
    const stored = JSON.stringify(results);
    expect(stored).toContain(rest.id);
    expect(stored).not.toContain(token.slice(4));
  });

  it("marks when it was last used", async () => {
    const space = await makeSpace();
    await connectWorker(space);
    const path = `/api/spaces/${space.name}/tokens`;
    const { tokens } = await (await call("GET", path, undefined, OPERATOR)).json<{
      tokens: { last_used_at: string | null }[];
    }>();
    expect(Date.parse(tokens[0]?.last_used_at ?? "")).toBeGreaterThan(0);
  });

  it("can be revoked once, and is refused from then on (H4, W4)", async () => {
    const space = await makeSpace();
    const path = `/api/spaces/${space.name}/tokens/${space.tokenId}`;
    expect((await call("DELETE", path, undefined, OPERATOR)).status).toBe(204);
    expect(await problemOf(404, call("DELETE", path, undefined, OPERATOR))).toMatchObject({
      code: "token_not_found",
    });
    const connect = `/api/spaces/${space.name}/connect`;
    await problemOf(401, upgrade(connect, { authorization: `Bearer ${space.token}` }));
  });

  it("of another space is refused, and can't be revoked through another space (W2, W4)", async () => {
    const [own, other] = [await makeSpace(), await makeSpace()];
    const connect = `/api/spaces/${own.name}/connect`;
    for (const answer of [
      upgrade(connect, { authorization: `Bearer ${other.token}` }),
      upgrade(`${connect}?token=${other.token}`),
      upgrade(connect, OPERATOR),
      upgrade(connect),
    ]) {
      expect(await problemOf(401, answer)).toMatchObject({ code: "not_authenticated" });
    }
    const path = `/api/spaces/${own.name}/tokens/${other.tokenId}`;
    await problemOf(404, call("DELETE", path, undefined, OPERATOR));
    expect((await connectWorker(other)).registered).toMatchObject({ generation: 1 });
  });
});

describe("a deleted space", () => {
  it("closes its sockets with 4404, and its jobs and tokens no longer exist (S14)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    const ofSpace = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    const ofJob = await TestSocket.open(`/ws/${id}`);
    const path = `/api/spaces/${space.name}`;
    expect((await call("DELETE", path, undefined, OPERATOR)).status).toBe(204);
    for (const socket of [worker, ofSpace, ofJob]) expect((await socket.closed).code).toBe(4404);
    expect(await problemOf(404, call("GET", path))).toMatchObject({ code: "space_not_found" });
    for (const answer of [
      call("GET", `/api/jobs/${id}`),
      call("POST", `/api/jobs/${id}/cancel`),
      call("GET", `/api/jobs/${id}/events`),
      upgrade(`/ws/${id}`),
    ]) {
      expect(await problemOf(404, answer)).toMatchObject({ code: "job_not_found" });
    }
    await problemOf(404, call("DELETE", path, undefined, OPERATOR));
    const rows = await env.DB.prepare("SELECT * FROM worker_tokens WHERE space = ?")
      .bind(space.name)
      .all();
    expect(rows.results).toEqual([]);
  });

  it("leaves no job, no worker and no token to a new space of its name", async () => {
    const space = await makeSpace({ title: "old" });
    await connectWorker(space);
    const { id } = await submit(space.name);
    const path = `/api/spaces/${space.name}`;
    await call("DELETE", path, undefined, OPERATOR);
    const made = await call("POST", "/api/spaces", { name: space.name }, OPERATOR);
    expect(await made.json()).toMatchObject({
      title: "",
      status: { worker: "disconnected", queue_size: 0, processing: 0 },
    });
    expect(await (await call("GET", `${path}/jobs`, undefined, OPERATOR)).json()).toEqual({
      jobs: [],
      next_cursor: null,
    });
    await problemOf(404, call("GET", `/api/jobs/${id}`));
    await problemOf(409, call("POST", `${path}/jobs`, { input: {} }));
    await problemOf(401, upgrade(`${path}/connect?token=${space.token}`));
  });
});

describe("a space while it is deleted", () => {
  it("stays deleted, even if it is requested meanwhile", async () => {
    const { name } = await makeSpace({ offline: "queue" });
    const path = `/api/spaces/${name}`;
    for (let file = 0; file < 20; file += 1) {
      await env.FILES.put(`spaces/${name}/inputs/${file}`, "x");
    }
    let deleted = false;
    const deletion = call("DELETE", path, undefined, OPERATOR).finally(() => {
      deleted = true;
    });
    while (!deleted) await call("GET", path);
    expect((await deletion).status).toBe(204);
    await problemOf(404, call("GET", path));
    await problemOf(404, call("POST", `${path}/jobs`, { input: {} }));
  });

  it("still answers earlier requests, and sends nothing to the sockets of a new space of its name", async () => {
    const space = await makeSpace({ offline: "queue" });
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    viewer.send({ type: "submit", ref: 1, input: {} });
    viewer.send({ type: "submit", ref: 2, input: {} });
    await viewer.next((frame) => frame.ref === 2);
    const [submitted, deleted] = await Promise.all([
      call("POST", `/api/spaces/${space.name}/jobs`, { input: {} }),
      call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR),
    ]);
    expect([submitted.status, deleted.status]).toEqual([202, 204]);
    const again = { name: space.name, offline: "queue" };
    await expectStatus(201, await call("POST", "/api/spaces", again, OPERATOR));
    const other = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    await other.next("space.status");
    await submit(space.name);
    // The deleted space had three waiting jobs, so one of its statuses would have come before this one.
    expect(await other.next("space.status")).toMatchObject({ queue_size: 1 });
  });
});

describe("a space whose creation was cut off", () => {
  async function insertRow(settings: object): Promise<string> {
    const name = `cut-${crypto.randomUUID()}`;
    await env.DB.prepare(
      "INSERT INTO spaces (name, title, visibility, settings, created_at) VALUES (?, '', ?, ?, 0)",
    )
      .bind(name, "public", JSON.stringify(settings))
      .run();
    return name;
  }

  it("is made when it is next requested, with the settings in the catalogue", async () => {
    const name = await insertRow({ title: "cut off", offline: "queue" });
    expect(await (await call("GET", `/api/spaces/${name}`)).json()).toMatchObject({
      ...DEFAULT_SETTINGS,
      name,
      title: "cut off",
      offline: "queue",
    });
    expect((await getJob((await submit(name)).id)).status).toBe("queued");
  });

  it("is made by a submit, and by a socket", async () => {
    const submitted = await insertRow({ offline: "queue" });
    expect((await submit(submitted)).status).toBe("queued");
    const opened = await insertRow({});
    const socket = await TestSocket.open(`/api/spaces/${opened}/ws`);
    expect(await socket.next("space.status")).toMatchObject({ worker: "disconnected" });
  });
});
