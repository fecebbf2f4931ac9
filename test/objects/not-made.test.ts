import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { connectUser } from "./rooms-support.ts";
import { call, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

/** How many objects of each class exist. */
async function countObjects() {
  const classes = { SPACE: env.SPACE, JOB: env.JOB, ROOM: env.ROOM };
  const counts = Object.entries(classes).map(async ([name, objects]) => {
    return [name, (await listDurableObjectIds(objects)).length] as const;
  });
  return Object.fromEntries(await Promise.all(counts));
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
