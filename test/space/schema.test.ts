import { describe, expect, it } from "vitest";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import type { StoredFile } from "../../src/queue/job.ts";
import { ANYBODY } from "../support/callers.ts";
import { pass, runInFakeRuntime, settled } from "../support/runtime/globals.ts";
import { ask, file, SpaceHost } from "./space-host.ts";

runInFakeRuntime();

const SIZE = {
  type: "object",
  properties: {
    width: { type: "integer", minimum: 64 },
    photo: { type: "string", format: "image" },
  },
  required: ["width"],
};

/** A space with a worker that takes `SIZE`. */
async function withSchema(settings: Partial<SpaceSettings> = {}) {
  const space = await SpaceHost.make(settings);
  const worker = await space.connect({ schema: { input: SIZE } });
  return { space, worker };
}

/** Submits as a form does: its fields are texts. */
async function submitForm(space: SpaceHost, input: object, options = {}, files: StoredFile[] = []) {
  const call = { input: JSON.stringify(input), texts: Object.keys(input), files, options };
  const [reply] = await settled(space.object.submit(ANYBODY, [call]));
  if (!reply) throw new Error("no answer");
  return reply;
}

describe("the schema of a space", () => {
  it("is what its worker declared, with every digit, and stays while none is there (W35, W35a)", async () => {
    const space = await SpaceHost.make();
    expect((await space.describe()).schema).toBe(null);
    const worker = await space.dial();
    worker.push(
      '{"type":"register","worker_id":"w","schema":{"output":{"maximum":18446744073709551615,"title":"T"}}}',
    );
    await pass();
    expect(worker.takeOnly("registered")).toHaveLength(1);
    const { schema } = await space.describe();
    expect(JSON.stringify(schema)).toBe(
      '{"version":1,"input":null,"output":{"maximum":18446744073709552000,"title":"T"}}',
    );
    const reply = await space.object.describe({ ...ANYBODY });
    expect(reply.ok && reply.body).toContain('"maximum":18446744073709551615');
    worker.leave(1000);
    await pass();
    await space.host.hibernate();
    expect((await space.describe()).schema?.version).toBe(1);
  });

  it("has a version that grows with each change, and not with the same again (W35a)", async () => {
    const { space, worker } = await withSchema();
    expect(await space.describe()).toMatchObject({
      schema: { version: 1, input: SIZE, output: null },
      status: { schema_version: 1 },
    });
    const again = await space.connect({ schema: { input: SIZE } });
    expect(worker.closed?.code).toBe(4409);
    expect((await space.describe()).schema?.version).toBe(1);
    await space.connect({ schema: { input: SIZE, output: {} } });
    expect((await space.describe()).schema?.version).toBe(2);
    await space.connect();
    const bare = await space.describe();
    expect([bare.schema, bare.status.schema_version]).toEqual([null, undefined]);
    await space.connect({ schema: { input: SIZE } });
    expect((await space.describe()).schema?.version).toBe(3);
    again.take();
  });

  it("is told to whoever follows the space as soon as it changes (W35a)", async () => {
    const space = await SpaceHost.make();
    const follower = await space.follow();
    follower.take();
    await space.connect({ schema: { input: SIZE } });
    expect(follower.takeOnly("space.status").at(-1)).toMatchObject({ schema_version: 1 });
    await space.host.hibernate();
    await space.connect({ schema: {} });
    expect(follower.takeOnly("space.status").at(-1)).toMatchObject({ schema_version: 2 });
  });

  it("is not taken away by a worker without one while another one has one (W35d)", async () => {
    const space = await SpaceHost.make({ max_workers: 2 });
    const first = await space.connect({ worker_id: "a", schema: { input: SIZE } });
    await space.connect({ worker_id: "b" });
    expect((await space.describe()).schema?.version).toBe(1);
    first.leave(1000);
    await pass();
    await space.connect({ worker_id: "b" });
    expect((await space.describe()).schema).toBe(null);
  });

  it("that can't be taken costs its worker the connection, and nobody else anything (W35b)", async () => {
    const { space, worker } = await withSchema();
    const other = await space.dial();
    other.push({
      type: "register",
      worker_id: "worker-1",
      schema: { input: { type: "object", properties: { a: { minimum: "1" } } } },
    });
    await pass();
    expect(other.takeOnly("error")).toMatchObject([
      {
        code: "schema_invalid",
        message: expect.stringContaining("/input/properties/a/minimum must be a number"),
      },
    ]);
    expect(other.closed?.code).toBe(4400);
    expect(worker.closed).toBe(null);
    expect((await space.describe()).schema?.version).toBe(1);
  });

  it("of a worker that finds no place changes nothing (W7, W35)", async () => {
    const { space } = await withSchema();
    const other = await space.connect({ worker_id: "other", schema: {} });
    expect(other.closed?.code).toBe(4409);
    expect((await space.describe()).schema?.version).toBe(1);
  });

  it("is left out where spaces are listed", async () => {
    const { space } = await withSchema();
    const reply = await space.object.describe(ANYBODY, "see", true);
    expect(reply.ok && JSON.parse(reply.body)).not.toHaveProperty("schema");
  });
});

describe("a submit to a space with a schema", () => {
  it("that doesn't fit is refused before it queues, with what is wrong where (H27)", async () => {
    const { space, worker } = await withSchema();
    const call = { input: '{"width":1}', files: [file("f", { field: "file" })], options: {} };
    const [reply] = await settled(space.object.submit(ANYBODY, [call]));
    expect(reply).toMatchObject({
      ok: false,
      code: "invalid_input",
      errors: [
        { path: "/input/width", message: "must be 64 or more" },
        { path: "/files/file", message: "is no field for files: leave it out" },
      ],
    });
    expect(worker.takeOnly("job")).toEqual([]);
    expect((await space.describe()).status).toMatchObject({ queue_size: 0, processing: 0 });
  });

  it("of a batch is refused alone (H27, H13)", async () => {
    const { space } = await withSchema();
    const ids = await space.submitAll([{ input: { width: 64 } }, {}, { input: { width: 65 } }]);
    expect(ids[0]).toMatch(/^demo\./);
    expect(ids[1]).toBe("invalid_input");
    expect(ids[2]).toMatch(/^demo\./);
  });

  it("over a socket is answered with the same errors (H27b)", async () => {
    const { space } = await withSchema();
    const socket = await space.follow();
    const frames = await ask(socket, { type: "submit", ref: 7, input: { width: "64" } });
    expect(frames).toMatchObject([
      {
        type: "error",
        ref: 7,
        code: "invalid_input",
        errors: [{ path: "/input/width", message: "must be a whole number" }],
      },
    ]);
    const [accepted] = await ask(socket, { type: "submit", ref: 8, input: { width: 64 } });
    expect(accepted).toMatchObject({ type: "accepted", ref: 8 });
  });

  it("as a form has its texts made into what the schema says, for the worker too (H27c)", async () => {
    const { space, worker } = await withSchema();
    expect((await submitForm(space, { width: "640", style: "1" })).ok).toBe(true);
    expect(worker.takeOnly("job")).toMatchObject([{ input: { width: 640, style: "1" } }]);
    expect(await submitForm(space, { width: "wide" })).toMatchObject({ code: "invalid_input" });
  });

  it("may have the files that the schema names, whatever the switches say, and no others (H27d)", async () => {
    const { space } = await withSchema({ enable_file_upload: false, enable_prompt: false });
    const photo = file("p", { field: "photo", content_type: "image/png" });
    expect(await space.submit({ input: { width: 64, prompt: "x" } }, [photo])).toMatch(/^demo\./);
    expect(await space.submit({ input: { width: 64 } }, [file("x")])).toBe("invalid_input");
  });

  it("that repeats one of before is answered with its job, whatever the schema says now (H27f, H10)", async () => {
    const { space } = await withSchema({ offline: "queue" });
    const options = { idempotency_key: "k" };
    const first = await submitForm(space, { width: "64" }, options);
    await space.connect({ schema: { input: { ...SIZE, required: ["height"] } } });
    const again = await submitForm(space, { width: "64" }, options);
    expect(again).toMatchObject({ ok: true, isRepeat: true, ulid: first.ok && first.ulid });
    expect(await submitForm(space, { width: "64" })).toMatchObject({ code: "invalid_input" });
    await space.connect();
    expect(await submitForm(space, { width: "64" }, options)).toMatchObject({ isRepeat: true });
  });

  it("that the cache answers is answered, whatever the schema says now (H27f, H11)", async () => {
    const { space, worker } = await withSchema({ cache_ttl_s: 60 });
    const id = await space.submit({ input: { width: 64 } });
    await space.complete(worker, id, "made");
    await space.connect({ schema: { input: { ...SIZE, required: ["height"] } } });
    expect(await submitForm(space, { width: "64" })).toMatchObject({ ok: true });
    const same = await space.submit({ input: { width: 64 } });
    expect(await space.job(same)).toMatchObject({ cached: true, result: "made" });
    expect(await space.submit({ input: { width: 65 } })).toBe("invalid_input");
  });

  it("is not checked against a schema that comes later: what waits already is the worker's to refuse (H27g)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const id = await space.submit({ input: { anything: 1 } });
    const worker = await space.connect({ schema: { input: SIZE } });
    expect(worker.takeOnly("job")).toMatchObject([{ job_id: id, input: { anything: 1 } }]);
  });

  it("is checked after the space has slept, and after its worker has left (H27, W35a)", async () => {
    const { space, worker } = await withSchema({ offline: "queue" });
    worker.leave(1000);
    await pass();
    await space.host.hibernate();
    expect(await space.submit({ input: { width: 1 } })).toBe("invalid_input");
    expect(await space.submit({ input: { width: 64 } })).toMatch(/^demo\./);
  });
});
