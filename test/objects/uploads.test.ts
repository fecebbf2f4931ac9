import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { JobResource, SpaceSettings } from "../../src/protocol/resources.ts";
import { someBytes } from "../support/memory-bucket.ts";
import { userToken } from "./rooms-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  problemOf,
  runSql,
} from "./support.ts";

const TUS = { "tus-resumable": "1.0.0" };
const OFFSET_TYPE = { "content-type": "application/offset+octet-stream" };
const BYTES = someBytes(300_000);
const LARGE = someBytes(9_000_000);
const DAY_MS = 86_400_000;

function makeFileSpace(settings: Partial<SpaceSettings> = {}) {
  return makeSpace({ enable_file_upload: true, offline: "queue", ...settings });
}

function send(method: string, path: string, headers: Record<string, string>, body?: BodyInit) {
  return exports.default.fetch(`https://edge.test${path}`, { method, headers, body });
}

function metadataOf(values: Record<string, string>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${Buffer.from(value).toString("base64")}`)
    .join(",");
}

interface Creation {
  length?: number;
  metadata?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer>;
}

function create(space: NamedSpace, { length = BYTES.length, ...more }: Creation = {}) {
  const { metadata = {}, headers = {}, body } = more;
  const named = { space: space.name, filename: "größe.png", filetype: "image/png", ...metadata };
  const all = { ...TUS, "upload-length": String(length), "upload-metadata": metadataOf(named) };
  const type = body === undefined ? {} : OFFSET_TYPE;
  return send("POST", "/api/uploads", { ...all, ...type, ...headers }, body);
}

async function place(created: Promise<Response>): Promise<string> {
  return (await expectStatus(201, await created)).headers.get("location") ?? "";
}

function patch(path: string, offset: number, body: BodyInit, headers: Record<string, string> = {}) {
  const all = { ...TUS, ...OFFSET_TYPE, "upload-offset": String(offset), ...headers };
  return send("PATCH", path, all, body);
}

async function offsetOf(path: string): Promise<string | null> {
  return (await expectStatus(200, await send("HEAD", path, TUS))).headers.get("upload-offset");
}

/** Makes an upload that is whole; returns its id. */
async function upload(space: NamedSpace, bytes = BYTES, headers: Record<string, string> = {}) {
  const path = await place(create(space, { length: bytes.length, body: bytes, headers }));
  return path.replace("/api/uploads/", "");
}

function submit(
  space: NamedSpace,
  uploads: string[],
  headers: Record<string, string> = {},
  input: object = {},
) {
  const files = uploads.map((id) => ({ field: "image", upload: id }));
  return call("POST", `/api/spaces/${space.name}/jobs`, { input, files }, headers);
}

async function keysOf({ name }: NamedSpace): Promise<string[]> {
  const { objects } = await env.FILES.list({ prefix: `spaces/${name}/` });
  return objects.map(({ key }) => key);
}

describe("an upload", () => {
  it("is made, sent in pieces, found again with HEAD, and is a job's file then (H30)", async () => {
    const space = await makeFileSpace();
    const created = await expectStatus(201, await create(space));
    expect(created.headers.get("tus-resumable")).toBe("1.0.0");
    expect(Date.parse(created.headers.get("upload-expires") ?? "")).toBeGreaterThan(Date.now());
    const path = created.headers.get("location") ?? "";
    expect(path).toMatch(new RegExp(`^/api/uploads/${space.name}\\.[\\w-]{24}$`));
    const first = await expectStatus(204, await patch(path, 0, BYTES.slice(0, 100_000)));
    expect(first.headers.get("upload-offset")).toBe("100000");
    await evictDurableObject(objectOf(space));
    expect(await offsetOf(path)).toBe("100000");
    await expectStatus(204, await patch(path, 100_000, BYTES.slice(100_000)));
    const id = path.replace("/api/uploads/", "");
    const job = await (await expectStatus(202, await submit(space, [id]))).json<JobResource>();
    expect(job.files).toEqual([
      { field: "image", name: "größe.png", content_type: "image/png", size: BYTES.length },
    ]);
    const { socket } = await connectWorker(space);
    const [file] = (await socket.next("job")).files as { url: string; sha256: string }[];
    const served = await exports.default.fetch(file?.url ?? "");
    expect(new Uint8Array(await served.arrayBuffer())).toEqual(BYTES);
    expect(await keysOf(space)).toHaveLength(1);
  });

  it("of more than a part has its checksum in the job and with every download (H30, W14e)", async () => {
    const space = await makeFileSpace();
    const path = await place(create(space, { length: LARGE.length }));
    await expectStatus(204, await patch(path, 0, LARGE.slice(0, 8_500_000)));
    await expectStatus(204, await patch(path, 8_500_000, LARGE.slice(8_500_000)));
    await expectStatus(202, await submit(space, [path.replace("/api/uploads/", "")]));
    const { socket } = await connectWorker(space);
    const [file] = (await socket.next("job")).files as { url: string; sha256: string }[];
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", LARGE));
    expect(file?.sha256).toBe(digest.toString("hex"));
    const headers = { range: "bytes=8999990-" };
    const served = await exports.default.fetch(file?.url ?? "", { headers });
    expect(served.headers.get("repr-digest")).toBe(`sha-256=:${digest.toString("base64")}:`);
    expect(new Uint8Array(await served.arrayBuffer())).toEqual(LARGE.slice(8_999_990));
    const forged = file?.url.replace(/sha256=./, "sha256=0").replace(/sha256=.{2}/, "sha256=00");
    await problemOf(403, exports.default.fetch(forged ?? ""));
  });

  it("may be empty, or come whole with its creation (H30a)", async () => {
    const space = await makeFileSpace();
    const empty = await upload(space, new Uint8Array());
    const whole = await upload(space);
    const answer = await expectStatus(202, await submit(space, [empty, whole]));
    const { files } = await answer.json<JobResource>();
    expect(files.map(({ size }) => size)).toEqual([0, BYTES.length]);
  });

  it("says what is spoken here to whoever asks, also to a page of another origin (H30)", async () => {
    const origin = { origin: "https://elsewhere.example" };
    const asked = await send("OPTIONS", "/api/uploads", origin);
    expect(Object.fromEntries(asked.headers)).toMatchObject({
      "tus-version": "1.0.0",
      "tus-resumable": "1.0.0",
      "tus-extension": "creation,creation-with-upload,expiration,termination,checksum",
      "tus-max-size": String(LIMITS.resumableBytes),
    });
    expect(asked.headers.get("access-control-allow-headers")).toContain("upload-offset");
    expect(asked.headers.get("access-control-allow-methods")).toContain("PATCH");
    const space = await makeFileSpace();
    const created = await create(space, { headers: origin });
    expect(created.headers.get("access-control-expose-headers")?.toLowerCase()).toContain(
      "location",
    );
    const old = await create(space, { headers: { "tus-resumable": "0.2.2" } });
    expect([old.status, old.headers.get("tus-version")]).toEqual([412, "1.0.0"]);
  });

  it.each<[number, string, Creation]>([
    [404, "space_not_found", { metadata: { space: "nowhere" } }],
    [422, "invalid_request", { metadata: { space: "" } }],
    [422, "invalid_request", { headers: { "upload-length": "-1" } }],
    [422, "invalid_request", { headers: { "upload-metadata": "space" } }],
    [422, "invalid_request", { headers: { "upload-metadata": "space !!" } }],
    [413, "payload_too_large", { length: LIMITS.resumableBytes + 1 }],
    [422, "audio_not_enabled", { metadata: { field: "audio" } }],
    [409, "limit_reached", { length: LIMITS.resumableBytes }],
  ])("is refused with %d %s if it can't be taken (H30a)", async (status, code, creation) => {
    const space = await makeFileSpace();
    if (code === "limit_reached") {
      for (let made = 0; made < 2; made += 1) await place(create(space, creation));
    }
    expect(await problemOf(status, create(space, creation))).toMatchObject({ code });
  });

  it("is refused where it is not, and after more bytes than it has (H30c)", async () => {
    const path = await place(create(await makeFileSpace(), { length: 10 }));
    expect(await problemOf(409, patch(path, 3, "abc"))).toMatchObject({ code: "upload_offset" });
    await problemOf(413, patch(path, 0, "more than ten bytes"));
    await problemOf(415, patch(path, 0, "abc", { "content-type": "text/plain" }));
    await problemOf(422, patch(path, 0, "abc", { "upload-offset": "x" }));
    await problemOf(412, patch(path, 0, "abc", { "tus-resumable": "2.0.0" }));
    expect(await offsetOf(path)).toBe("0");
    await problemOf(404, patch(`${path.slice(0, -1)}_`, 0, "abc"));
    await problemOf(404, patch("/api/uploads/x", 0, "abc"));
  });

  it("checks what a client says of the bytes, and keeps none that are others (H30e)", async () => {
    const path = await place(create(await makeFileSpace(), { length: 11 }));
    const sha1 = (text: string) => `sha1 ${Buffer.from(text, "hex").toString("base64")}`;
    const right = { "upload-checksum": sha1("2aae6c35c94fcfb415dbe95f408b9ce91ee846ed") };
    const wrong = { "upload-checksum": sha1("ffffffffffffffffffffffffffffffffffffffff") };
    await problemOf(460, patch(path, 0, "hello world", wrong));
    expect(await offsetOf(path)).toBe("0");
    await problemOf(422, patch(path, 0, "hello world", { "upload-checksum": "crc32 AA==" }));
    await expectStatus(204, await patch(path, 0, "hello world", right));
  });

  it("is removed by whoever has its id, also without the method (H30b)", async () => {
    const space = await makeFileSpace();
    const paths = [await place(create(space)), await place(create(space))];
    for (const path of paths) await expectStatus(204, await patch(path, 0, BYTES.slice(0, 10)));
    await expectStatus(204, await send("DELETE", paths[0] ?? "", TUS));
    const override = { ...TUS, "x-http-method-override": "DELETE" };
    await expectStatus(204, await send("POST", paths[1] ?? "", override));
    await problemOf(404, send("GET", paths[0] ?? "", TUS));
    expect(await keysOf(space)).toEqual([]);
  });

  it("of two requests at once one alone writes it, and the other learns where it is (H30c)", async () => {
    const path = await place(create(await makeFileSpace()));
    const answers = await Promise.all([patch(path, 0, BYTES), patch(path, 0, BYTES)]);
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses[0]).toBe(204);
    expect([409, 423]).toContain(statuses[1]);
    expect(await offsetOf(path)).toBe(String(BYTES.length));
  });

  it("that no job uses is removed a day after its last byte, with its parts (H30b)", async () => {
    const space = await makeFileSpace();
    const path = await place(create(space, { length: LARGE.length + 1 }));
    await expectStatus(204, await patch(path, 0, LARGE));
    const whole = await upload(space);
    const used = await upload(space);
    await expectStatus(202, await submit(space, [used]));
    expect(await keysOf(space)).toHaveLength(3);
    await runSql(space, `UPDATE uploads SET expires_at = expires_at - ${DAY_MS}`);
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    await problemOf(404, send("GET", path, TUS));
    expect(await problemOf(404, submit(space, [whole]))).toMatchObject({
      code: "upload_not_found",
    });
    expect(await keysOf(space)).toHaveLength(1);
  });

  it("goes with its space (H30b)", async () => {
    const space = await makeFileSpace();
    const path = await place(create(space, { length: LARGE.length + 1 }));
    await expectStatus(204, await patch(path, 0, LARGE));
    await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR);
    expect(await keysOf(space)).toEqual([]);
    await problemOf(404, send("GET", path, TUS));
  });
});

describe("a job's file that was uploaded before", () => {
  it("is that job's alone, and is erased with it (H30f)", async () => {
    const space = await makeFileSpace();
    const id = await upload(space);
    const { id: job } = await (await submit(space, [id])).json<{ id: string }>();
    expect(await problemOf(409, submit(space, [id]))).toMatchObject({ code: "upload_used" });
    await problemOf(409, send("DELETE", `/api/uploads/${id}`, TUS));
    await problemOf(409, submit(space, [await upload(space), id]));
    await expectStatus(204, await call("DELETE", `/api/jobs/${job}`, undefined, OPERATOR));
    expect(await runSql(space, "SELECT id FROM uploads WHERE ulid IS NOT NULL")).toEqual([]);
    expect(await problemOf(404, submit(space, [id]))).toMatchObject({ code: "upload_not_found" });
  });

  it("is still to be had if the job is refused (H30f)", async () => {
    const space = await makeFileSpace({ offline: "refuse" });
    const id = await upload(space);
    await problemOf(409, submit(space, [id]));
    await call("PATCH", `/api/spaces/${space.name}`, { offline: "queue" }, OPERATOR);
    await expectStatus(202, await submit(space, [id]));
  });

  it("may be named again in a repeat of the submit, also by another upload of the same (H30f, H10)", async () => {
    const space = await makeFileSpace();
    const id = await upload(space);
    const key = { "idempotency-key": crypto.randomUUID() };
    const { id: job } = await (await submit(space, [id], key)).json<{ id: string }>();
    for (const again of [id, await upload(space)]) {
      const repeat = await expectStatus(202, await submit(space, [again], key));
      expect(await repeat.json()).toMatchObject({ id: job });
    }
    expect(await problemOf(409, submit(space, [id], key, { other: true }))).toMatchObject({
      code: "idempotency_key_reused",
    });
  });

  it("must be whole, of this space, of this user, in a field that the space takes, and named once (H30f)", async () => {
    const [space, other] = [await makeFileSpace(), await makeFileSpace()];
    const path = await place(create(space));
    const part = path.replace("/api/uploads/", "");
    expect(await problemOf(409, submit(space, [part]))).toMatchObject({
      code: "upload_incomplete",
    });
    await problemOf(404, submit(other, [await upload(space)]));
    const ann = { authorization: `Bearer ${await userToken("ann", { spaces: ["space-*"] })}` };
    const bob = { authorization: `Bearer ${await userToken("bob", { spaces: ["space-*"] })}` };
    const hers = await upload(space, BYTES, ann);
    for (const others of [{}, bob, OPERATOR]) await problemOf(404, submit(space, [hers], others));
    await expectStatus(202, await submit(space, [hers], ann));
    const free = await upload(space);
    await problemOf(409, submit(space, [free, free]));
    const video = { input: {}, files: [{ field: "video", upload: free }] };
    await problemOf(422, call("POST", `/api/spaces/${space.name}/jobs`, video));
    await problemOf(422, submit(space, ["not-an-id"]));
    await expectStatus(202, await submit(space, [free]));
  });

  it("is named in a batch and on a space's socket as well (H30f)", async () => {
    const space = await makeFileSpace();
    const [one, two] = [await upload(space), await upload(space)];
    const jobs = [one, one].map((id) => ({ input: {}, files: [{ field: "image", upload: id }] }));
    const batch = await call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
    expect(await batch.json()).toMatchObject({
      jobs: [{ job: { files: [{ size: BYTES.length }] } }, { error: { code: "upload_used" } }],
    });
    const opened = await exports.default.fetch(`https://edge.test/api/spaces/${space.name}/ws`, {
      headers: { upgrade: "websocket" },
    });
    const socket = opened.webSocket;
    if (!socket) throw new Error("no socket");
    const { promise, resolve } = Promise.withResolvers<{ type: string; job_id: string }>();
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(String(data));
      if (frame.type === "accepted" || frame.type === "error") resolve(frame);
    });
    socket.accept();
    const files = [{ field: "image", upload: two }];
    socket.send(JSON.stringify({ type: "submit", ref: 1, input: {}, files }));
    const { type, job_id } = await promise;
    expect(type).toBe("accepted");
    const job = await (await call("GET", `/api/jobs/${job_id}`)).json();
    expect(job).toMatchObject({ files: [{ size: BYTES.length }] });
    socket.close();
  });

  it("stands in a form as a text, beside files that come with it (H30f)", async () => {
    const space = await makeFileSpace();
    const form = new FormData();
    form.append("prompt", `upload:${space.name}`);
    form.append("image", `upload:${await upload(space)}`);
    form.append("image", new File(["second"], "b.png"));
    const url = `https://edge.test/api/spaces/${space.name}/jobs`;
    const answer = await exports.default.fetch(url, { method: "POST", body: form });
    const job = await (await expectStatus(202, answer)).json<JobResource>();
    expect(job.input).toEqual({ prompt: `upload:${space.name}` });
    expect(job.files.map(({ size }) => size)).toEqual([6, BYTES.length]);
  });
});
