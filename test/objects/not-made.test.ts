import { evictDurableObject, listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { indexNameOf } from "../../src/backend-job/job-index.ts";
import { MONITOR_NAME } from "../../src/monitor/reporter.ts";
import { MessageTurns } from "../../src/objects/message-turns.ts";
import {
  follow,
  followCaughtUp,
  freshId,
  makeJob,
  readJob,
  reportOk,
  runAlarm,
} from "./backend-jobs-support.ts";
import { connectUser, freshRoom, publish, subscribe, userToken } from "./rooms-support.ts";
import { call, expectStatus, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

/** How many objects of each class exist. */
async function countObjects() {
  const [spaces, jobs, rooms] = await Promise.all([
    listDurableObjectIds(env.SPACE),
    listDurableObjectIds(env.JOB),
    listDurableObjectIds(env.ROOM),
  ]);
  return { spaces: spaces.length, jobs: jobs.length, rooms: rooms.length };
}

const ULID = "01J0000000000000000000000A";

describe("a space that doesn't exist", () => {
  it.each([
    ["GET", "/api/spaces/none1"],
    ["PATCH", "/api/spaces/none1"],
    ["DELETE", "/api/spaces/none1"],
    ["POST", "/api/spaces/none1/drain"],
    ["POST", "/api/spaces/none1/tokens"],
    ["GET", "/api/spaces/none1/tokens"],
    ["DELETE", `/api/spaces/none1/tokens/${ULID}`],
    ["GET", "/api/spaces/none1/webhook-secret"],
    ["GET", "/api/spaces/none1/jobs"],
    ["POST", "/api/spaces/none1/jobs"],
    ["POST", "/api/spaces/none1/jobs/batch"],
    ["GET", `/api/jobs/none1.${ULID}`],
    ["POST", `/api/jobs/none1.${ULID}/cancel`],
    ["GET", `/api/jobs/none1.${ULID}/events`],
    ["GET", `/api/jobs/none1.${ULID}/webhooks`],
  ])("is answered 404 by %s %s, and gets no object (H3a)", async (method, path) => {
    const body = path.endsWith("batch") ? { jobs: [{ input: {} }] } : { input: {} };
    const content = path.includes("/spaces/none1/jobs") ? body : { name: "x" };
    const before = await countObjects();
    const patch = method === "PATCH" ? { title: "x" } : content;
    const sent = method === "GET" || method === "DELETE" ? undefined : patch;
    await problemOf(404, call(method, path, sent, OPERATOR));
    expect(await countObjects()).toEqual(before);
  });

  it.each([
    "/api/spaces/none1/ws",
    "/api/spaces/none1/connect",
    "/api/spaces/none1/connect?token=dow_wrong",
    `/ws/none1.${ULID}`,
    `/api/jobs/none1.${ULID}/ws`,
  ])("is answered 404 by the socket %s, and gets no object (H3a)", async (path) => {
    const before = await countObjects();
    await expect(TestSocket.open(path)).rejects.toThrow("404");
    expect(await countObjects()).toEqual(before);
  });

  it("gets no object from a subscribe on a gateway (H3a)", async () => {
    const socket = await connectUser("ann");
    const before = await countObjects();
    for (const room of ["space:none1", `job:none1.${ULID}`]) {
      socket.send({ type: "subscribe", room, ref: room });
      expect(await socket.next("error")).toMatchObject({ code: "space_not_found", ref: room });
    }
    expect(await countObjects()).toEqual(before);
    socket.close();
  });
});

describe("a job that a space does not have", () => {
  it("is answered 404, and gets no object of its own (H3a)", async () => {
    const { name } = await makeSpace();
    const before = await countObjects();
    await problemOf(404, call("GET", `/api/jobs/${name}.${ULID}`));
    await problemOf(404, call("GET", `/api/jobs/${name}.${ULID}/events`));
    await expect(TestSocket.open(`/ws/${name}.${ULID}`)).rejects.toThrow("404");
    expect(await countObjects()).toEqual(before);
  });
});

describe("a space whose deletion was cut off", () => {
  it("is not found, and is deleted by a second DELETE or taken over by a new space (H3a)", async () => {
    const { name } = await makeSpace();
    const cutOff = "UPDATE spaces SET visibility = 'deleting' WHERE name = ?";
    await env.DB.prepare(cutOff).bind(name).run();
    const listed = await call("GET", "/api/spaces?limit=100", undefined, OPERATOR);
    expect(await listed.text()).not.toContain(`"${name}"`);
    expect((await call("DELETE", `/api/spaces/${name}`, undefined, OPERATOR)).status).toBe(204);
    await problemOf(404, call("DELETE", `/api/spaces/${name}`, undefined, OPERATOR));
    await problemOf(404, call("GET", `/api/spaces/${name}`));
    const { name: other } = await makeSpace();
    await env.DB.prepare(cutOff).bind(other).run();
    const again = await call("POST", "/api/spaces", { name: other, title: "New" }, OPERATOR);
    expect(again.status).toBe(201);
    expect(await again.json()).toMatchObject({ name: other, title: "New" });
  });
});

describe("a job of a backend that nobody has made", () => {
  it.each([
    ["GET", ""],
    ["GET", "/events"],
    ["POST", "/progress", { progress: 1 }],
    ["POST", "/output", { delta: "a" }],
    ["POST", "/complete", {}],
    ["POST", "/fail", { message: "no" }],
    ["POST", "/cancel", {}],
  ])(
    "is answered 404 by %s /api/jobs/<id>%s, and gets no object (B6c)",
    async (method, path, body?: object) => {
      const before = await countObjects();
      const id = freshId();
      expect(
        await problemOf(404, call(method, `/api/jobs/${id}${path}`, body, OPERATOR)),
      ).toMatchObject({ code: "job_not_found" });
      expect(await countObjects()).toEqual(before);
    },
  );

  it("gets no object from those who wait for it, on its sockets and on a gateway (B6c)", async () => {
    const id = freshId();
    const gateway = await connectUser("ann");
    const before = await countObjects();
    const early = await follow(id);
    const other = await TestSocket.open(`/api/jobs/${id}/ws`);
    await subscribe(gateway, `job:${id}`);
    for (const socket of [early, other, gateway]) {
      expect(await socket.next("progress")).toMatchObject({ status: "pending" });
    }
    expect(await countObjects()).toEqual(before);
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    for (const socket of [early, other, gateway]) {
      expect(await socket.next("progress")).toMatchObject({ status: "queued", offset: 1 });
    }
    expect(await countObjects()).toEqual({ ...before, jobs: before.jobs + 1 });
    gateway.close();
  });

  it("doesn't have its object busy with what a socket sends after its close (B9b)", async () => {
    const ignore = vi.spyOn(MessageTurns.prototype, "onIgnored");
    const flooding = await followCaughtUp(freshId());
    for (let n = 0; n < 900; n += 1) flooding.send("{");
    expect((await flooding.closed).code).toBe(4400);
    await vi.waitUntil(() => ignore.mock.calls.length > 0);
    ignore.mockRestore();
  });

  it("leaves nothing behind when those who waited for it are gone (B6c)", async () => {
    const id = freshId();
    const early = await followCaughtUp(id);
    early.close();
    await early.closed;
    const index = env.JOB_INDEX.getByName(indexNameOf(id));
    const tables = await runInDurableObject(index, (_object, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE sql LIKE '%jobs%'").toArray(),
    );
    const stored = await runInDurableObject(index, (_object, { storage }) =>
      tables.length === 0 ? [] : storage.sql.exec("SELECT id FROM jobs WHERE id = ?", id).toArray(),
    );
    expect(stored).toEqual([]);
  });

  it("is in the index until it is erased, and can be made again (B6c, B15)", async () => {
    const id = freshId();
    const body = { id, result_ttl_s: 0.001 };
    await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    await reportOk(id, "complete", { result: 1 });
    await runAlarm(id);
    await expect.poll(async () => (await call("GET", `/api/jobs/${id}`)).status).toBe(404);
    expect(await env.JOB_INDEX.getByName(indexNameOf(id)).has(id)).toBe(false);
    const early = await followCaughtUp(id);
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    expect(await early.next("progress")).toMatchObject({ status: "queued", offset: 1 });
    expect(await readJob(id)).toMatchObject({ status: "queued" });
  });

  it("that an earlier release has made is found by the monitor's row (B6c)", async () => {
    const id = await makeJob();
    const index = env.JOB_INDEX.getByName(indexNameOf(id));
    const monitor = env.MONITOR.getByName(MONITOR_NAME);
    await expect
      .poll(() => monitor.jobIds(""), { timeout: 10_000 })
      .toEqual(expect.arrayContaining([id]));
    await runInDurableObject(index, (_object, { storage }) => storage.deleteAll());
    await evictDurableObject(index);
    expect(await env.JOB_INDEX.getByName(indexNameOf(id)).has(id)).toBe(true);
  });
});

describe("a room that nobody has used", () => {
  it("can be read by one user only so often, as each read starts its object; used ones any number of times (R18h)", async () => {
    const headers = {
      authorization: `Bearer ${await userToken("curious", { rooms: ["project:*"] })}`,
    };
    const used = freshRoom();
    await publish(used, "note.added");
    const read = (room: string, what: string) =>
      call("GET", `/api/rooms/${room}/${what}`, undefined, headers).then(({ status }) => status);
    const before = await countObjects();
    const statuses: number[] = [];
    for (let n = 0; n < 100; n += 1) {
      statuses.push(await read(freshRoom(), n % 2 ? "history" : "presence"));
      expect(await read(used, n % 2 ? "history" : "presence")).toBe(200);
    }
    expect(statuses.slice(0, 60)).toEqual(Array.from({ length: 60 }, () => 200));
    expect(statuses).toContain(429);
    const { rooms } = await countObjects();
    expect(rooms - before.rooms).toBe(statuses.filter((status) => status === 200).length);
  });
});
