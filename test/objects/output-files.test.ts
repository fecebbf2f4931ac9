import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FileSweep, SWEEP_EVERY_MS } from "../../src/file-sweep/file-sweep.ts";
import { outputFolder, outputKey } from "../../src/files/file-keys.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { OutputFile } from "../../src/protocol/output-files.ts";
import type { SpaceEngine } from "../../src/space/space-engine.ts";
import { cursorInMemory } from "../support/sweep-cursor.ts";
import {
  digestOf,
  end,
  framesFor,
  jobOf,
  outputKeys,
  PNG,
  put,
  putTo,
  send,
  startJob,
} from "./output-files-support.ts";
import { userToken } from "./rooms-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  OPERATOR,
  objectOf,
  passTimeTo,
  problemOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

const EDGE = "https://edge.test";

afterEach(() => void vi.restoreAllMocks());

function fetchFile(url: string, init: RequestInit = {}): Promise<Response> {
  return exports.default.fetch(new URL(url, EDGE), init);
}

/** Lets the space's alarm remove what nobody needs. */
async function removeReleased(space: { name: string }): Promise<void> {
  await passTimeTo(Date.now() + 6_000, [objectOf(space)]);
  vi.restoreAllMocks();
}

describe("a file that an attempt sends", () => {
  it("is stored, and known by its bytes (W36, W36a, W36h)", async () => {
    const { job } = await startJob();
    const answer = await put(job, "a b/ü.png".replace("/", "-"), PNG, {
      "content-type": "text/html",
      "repr-digest": digestOf(PNG),
    });
    expect(answer.status).toBe(201);
    const sha256 = Buffer.from(digestOf(PNG).slice(9, -1), "base64").toString("hex");
    const file = { name: "a b-ü.png", content_type: "image/png", size: PNG.length, sha256 };
    expect(await answer.json()).toEqual(file);
    const again = await put(job, "a b-ü.png", PNG, { "repr-digest": digestOf(PNG) });
    expect([again.status, await again.json()]).toEqual([200, file]);
    const without = await put(job, "a b-ü.png", PNG);
    expect([without.status, await without.json()]).toEqual([200, file]);
  });

  it("is refused with words, and leaves nothing behind (W36b)", async () => {
    const { space, job } = await startJob();
    await send(job, "a.txt", "one");
    const refused = (name: string, content: string, headers?: Record<string, string>) =>
      put(job, name, content, headers);
    expect(await problemOf(409, refused("a.txt", "two"))).toMatchObject({ code: "name_taken" });
    expect(
      await problemOf(409, refused("a.txt", "other", { "repr-digest": digestOf("other") })),
    ).toMatchObject({ code: "name_taken" });
    expect(
      await problemOf(400, refused("b.txt", "one", { "repr-digest": digestOf("two") })),
    ).toMatchObject({ code: "checksum_mismatch" });
    expect(
      await problemOf(422, refused("b.txt", "one", { "repr-digest": "sha-256=nonsense" })),
    ).toMatchObject({ code: "invalid_request" });
    expect(
      await problemOf(415, refused("b.txt", "one", { "content-encoding": "gzip" })),
    ).toMatchObject({ code: "unsupported_media_type" });
    for (const name of ["..", "a\u0001", "x".repeat(201)]) {
      const { url } = job.outputs as { url: string };
      const escaped = encodeURIComponent(name).replaceAll(".", "%2e");
      const answer = await putTo(url.replace("{name}", escaped), "x");
      expect([404, 422]).toContain(answer.status);
    }
    expect(await outputKeys(space)).toHaveLength(1);
  });

  it.each([
    ["with its checksum", { "repr-digest": digestOf("x".repeat(200_000)) }],
    ["without it", {}],
  ])("that breaks off leaves nothing, and may be sent again: %s (W36a)", async (_how, headers) => {
    const { space, job } = await startJob();
    const { url } = job.outputs as { url: string };
    const content = "x".repeat(200_000);
    let pieces = 0;
    const body = new ReadableStream({
      pull(controller) {
        pieces += 1;
        if (pieces > 4) controller.error(new Error("the connection broke"));
        else controller.enqueue(new TextEncoder().encode(content.slice(0, 20_000)));
      },
    });
    const length = { "content-length": String(content.length) };
    const answer = await exports.default
      .fetch(url.replace("{name}", "a.txt"), {
        method: "PUT",
        body,
        headers: { ...headers, ...length },
      })
      .catch(() => null);
    expect(answer?.status ?? 503).toBe(503);
    expect(await outputKeys(space)).toEqual([]);
    await expectStatus(201, await put(job, "a.txt", content, headers));
    expect(await outputKeys(space)).toHaveLength(1);
  });

  it("needs the address that its worker was given (W36b, W36c)", async () => {
    const { space, job, id } = await startJob({ max_workers: 2 });
    const { url } = job.outputs as { url: string };
    const address = url.replace("{name}", "a.txt");
    const forged = address.replace("worker=worker-1", "worker=worker-2");
    expect(await problemOf(403, putTo(forged, "x"))).toMatchObject({ code: "not_allowed" });
    for (const other of [
      address.replace("attempts/1", "attempts/2"),
      address.replace(id, `${space.name}.01JD8Z3K9QX5T7W2V4N6B8M0CA`),
    ]) {
      expect(await problemOf(410, putTo(other, "x"))).toMatchObject({ code: "attempt_over" });
    }
    const { socket: second } = await connectWorker(space, {
      worker_id: "worker-2",
      sends_files: true,
    });
    await submit(space.name);
    const other = (await second.next("job")).outputs as { url: string };
    const grant = new URL(other.url).search;
    const mixed = address.replace(/\?.*/, grant);
    expect(await problemOf(410, putTo(mixed, "x"))).toMatchObject({ code: "attempt_over" });
    expect(await outputKeys(space)).toEqual([]);
  });

  it("counts with all others of its attempt, also those on their way (W36b)", async () => {
    const { job } = await startJob();
    for (let n = 0; n < LIMITS.outputFiles; n += 1) await send(job, `${n}.txt`, `${n}`);
    const more = problemOf(409, put(job, "more.txt", "x"));
    expect(await more).toMatchObject({ code: "limit_reached" });
  });

  it("is taken while its worker is away, and refused once the attempt is over (W36b, W36c)", async () => {
    const { space, worker, job } = await startJob({ reconnect_grace_s: 60 });
    await send(job, "before.txt", "1");
    worker.close(3000);
    await worker.closed;
    await send(job, "away.txt", "2");
    const resume = [{ job_id: job.job_id, attempt: 1 }];
    const { socket } = await connectWorker(space, { resume });
    await send(job, "after.txt", "3");
    const frames = framesFor(job);
    for (const name of ["after.txt", "before.txt"]) socket.send(frames.file(name));
    await end(socket, frames.result(null, ["away.txt"]));
    expect(await problemOf(410, put(job, "late.txt", "4"))).toMatchObject({ code: "attempt_over" });
    const { outputs } = await jobOf(String(job.job_id));
    expect(outputs.map(({ name }) => name)).toEqual(["after.txt", "before.txt", "away.txt"]);
  });
});

describe("files that a worker names", () => {
  it("are events, and outputs of the job (W36e, S22, S22b, H28)", async () => {
    const { worker, id, job } = await startJob();
    const follower = await TestSocket.open(`/api/jobs/${id}/ws`);
    const frames = framesFor(job);
    await send(job, "cat.png", PNG);
    worker.send(frames.output("first"));
    worker.send(frames.file("cat.png"));
    const event = await follower.next((frame) => frame.file !== undefined);
    expect(event).toMatchObject({ type: "output", attempt: 1, file: { name: "cat.png" } });
    expect(event).not.toHaveProperty("delta");
    expect((await jobOf(id)).outputs).toHaveLength(1);
    await send(job, "notes.txt", "with the result");
    await end(worker, frames.result({ image: "cat.png" }, ["notes.txt", "cat.png"]));
    const last = await follower.next((frame) => frame.status === "completed");
    const { outputs, output } = await jobOf(id);
    expect(outputs).toEqual(last.outputs);
    expect(outputs.map(({ name }) => name)).toEqual(["cat.png", "notes.txt"]);
    expect(output).toBe("first");
    const late = await TestSocket.open(`/api/jobs/${id}/ws`);
    const snapshot = await late.until((frame) => frame.status === "completed");
    expect(snapshot).toMatchObject([
      { type: "connection" },
      { delta: "first" },
      { file: { name: "cat.png" } },
      { outputs: [{ name: "cat.png" }, { name: "notes.txt" }] },
    ]);
  });

  it("must be there: an output is left out, a result fails the job (W36g)", async () => {
    const { worker, id, job } = await startJob();
    const frames = framesFor(job);
    worker.send(frames.output("a"));
    worker.send(frames.file("missing.png"));
    const about = { job_id: job.job_id, attempt: 1, file: "missing.png" };
    expect(await worker.next("error")).toMatchObject({ code: "no_such_file", ...about });
    worker.send(frames.output("b"));
    worker.send(frames.result(1, ["missing.png"]));
    expect(await worker.next("error")).toMatchObject({ code: "no_such_file", refused_frames: 1 });
    await worker.next("stale");
    const { status, output, error } = await jobOf(id);
    expect([status, output, error?.code]).toEqual(["failed", "ab", "worker_error"]);
    expect(error?.message).toContain('names the file "missing.png"');
  });

  it("don't count twice after a reconnect if they were left out (W26, W36g)", async () => {
    const { space, worker, job } = await startJob({ reconnect_grace_s: 60 });
    const frames = framesFor(job);
    await send(job, "a.txt", "a");
    for (const frame of [frames.output("x"), frames.file("no.txt"), frames.file("a.txt")])
      worker.send(frame);
    await worker.next("error");
    worker.close(3000);
    await worker.closed;
    await evictDurableObject(objectOf(space));
    const resume = [{ job_id: job.job_id, attempt: 1 }];
    const { socket, registered } = await connectWorker(space, { resume });
    expect(registered.resumed).toMatchObject([{ outputs: 2 }]);
    await end(socket, frames.result());
    expect((await jobOf(String(job.job_id))).outputs).toMatchObject([{ name: "a.txt" }]);
  });

  it("survive that the object loses its memory at any step", async () => {
    const { space, worker, id, job } = await startJob();
    const frames = framesFor(job);
    const steps = [
      () => send(job, "a.txt", "a"),
      async () => worker.send(frames.file("a.txt")),
      () => send(job, "b.txt", "b"),
      () => send(job, "never.txt", "c"),
      async () => worker.send(frames.file("b.txt", true)),
    ];
    for (const step of steps) {
      await step();
      await vi.waitFor(async () => jobOf(id));
      await evictDurableObject(objectOf(space));
    }
    await end(worker, frames.result(null, ["b.txt"]));
    await evictDurableObject(objectOf(space));
    expect((await jobOf(id)).outputs.map(({ name }) => name)).toEqual(["a.txt", "b.txt"]);
    await removeReleased(space);
    expect(await outputKeys(space)).toHaveLength(2);
    expect(await runSql(space, "SELECT * FROM output_files")).toEqual([]);
  });
});

describe("previews", () => {
  it("replace each other, and end with the job (W36f, W36i, S22a)", async () => {
    const { space, worker, id, job } = await startJob();
    const follower = await TestSocket.open(`/api/jobs/${id}/ws`);
    const frames = framesFor(job);
    const urls: string[] = [];
    for (const name of ["1.png", "2.png", "3.png"]) {
      await send(job, name, PNG.with(-1, Number(name[0])));
      worker.send(frames.file(name, true));
      const shown = await follower.next((frame) => frame.preview === true);
      urls.push((shown.file as OutputFile).url);
    }
    const late = await TestSocket.open(`/api/jobs/${id}/ws`);
    const snapshot = await late.until("progress");
    expect(snapshot.filter(({ file }) => file)).toMatchObject([{ file: { name: "3.png" } }]);
    expect((await jobOf(id)).outputs).toEqual([]);
    await removeReleased(space);
    const statuses = await Promise.all(urls.map(async (url) => (await fetchFile(url)).status));
    expect(statuses).toEqual([404, 404, 200]);
    await send(job, "1.png", "the name is free again");
    await end(worker, frames.result());
    await removeReleased(space);
    expect(await outputKeys(space)).toEqual([]);
    expect((await jobOf(id)).outputs).toEqual([]);
  });

  it("may become output", async () => {
    const { space, worker, id, job } = await startJob();
    const frames = framesFor(job);
    await send(job, "a.png", PNG);
    worker.send(frames.file("a.png", true));
    await end(worker, frames.result(null, ["a.png"]));
    await removeReleased(space);
    expect((await jobOf(id)).outputs).toMatchObject([{ name: "a.png" }]);
    expect(await outputKeys(space)).toHaveLength(1);
  });
});

describe("the files of an attempt", () => {
  it("that is tried again are removed (W36i)", async () => {
    const { space, worker, id, job } = await startJob();
    const frames = framesFor(job);
    await send(job, "a.txt", "first");
    worker.send(frames.file("a.txt"));
    await end(worker, frames.fail(true));
    expect((await jobOf(id)).outputs).toEqual([]);
    await removeReleased(space);
    expect(await outputKeys(space)).toEqual([]);
    const again = await worker.next("job");
    expect(again).toMatchObject({ job_id: id, attempt: 2 });
    await send(again, "a.txt", "second");
    await end(worker, framesFor(again).result(null, ["a.txt"]));
    expect((await jobOf(id)).outputs).toMatchObject([{ name: "a.txt", size: 6 }]);
  });

  it("stay with a job that failed, as far as they were named (W36i)", async () => {
    const { space, worker, id, job } = await startJob();
    const frames = framesFor(job);
    for (const name of ["told.txt", "untold.txt"]) await send(job, name, name);
    worker.send(frames.file("told.txt"));
    await end(worker, frames.fail(false));
    const { status, outputs } = await jobOf(id);
    expect([status, outputs.map(({ name }) => name)]).toEqual(["failed", ["told.txt"]]);
    await removeReleased(space);
    expect(await outputKeys(space)).toHaveLength(1);
  });

  it("are erased with their job, named or not (H28d)", async () => {
    const { space, worker, id, job } = await startJob();
    for (const name of ["a.txt", "b.txt"]) await send(job, name, name);
    worker.send(framesFor(job).file("a.txt"));
    await vi.waitFor(async () => expect((await jobOf(id)).outputs).toHaveLength(1));
    await expectStatus(204, await call("DELETE", `/api/jobs/${id}`, undefined, OPERATOR));
    expect(await outputKeys(space)).toEqual([]);
    expect(await runSql(space, "SELECT * FROM output_files")).toEqual([]);
  });

  it("are removed by the sweep if the space was never told of them (H6l)", async () => {
    const { space, worker, id, job } = await startJob();
    await send(job, "a.txt", "running");
    const folder = outputFolder(space.name, id.split(".")[1] ?? "");
    const lost = outputKey(space.name, { folder, id: "01JD8Z3K9QX5T7W2V4N6B8M0CA" });
    await env.FILES.put(lost, "lost");
    const elsewhere = { folder: "0".repeat(32), id: "01JD8Z3K9QX5T7W2V4N6B8M0CA" };
    await env.FILES.put(outputKey(space.name, elsewhere), "lost");
    await env.FILES.put(outputKey("no-such-space", elsewhere), "lost");
    const sweep = async () => {
      const steps = new FileSweep({
        bucket: env.FILES,
        cursor: cursorInMemory(),
        unknownFolders: (name, folders) => env.SPACE.getByName(name).unknownFolders(folders),
        unknownOutputs: (name, places) => env.SPACE.getByName(name).unknownOutputs(places),
      });
      const now = Date.now() + 7_200_000;
      while ((await steps.step(now)) < now + SWEEP_EVERY_MS);
    };
    await sweep();
    expect(await outputKeys(space)).toHaveLength(1);
    expect(await outputKeys({ name: "no-such-space" })).toEqual([]);
    await end(worker, framesFor(job).result(null, ["a.txt"]));
    await sweep();
    expect(await outputKeys(space)).toHaveLength(1);
  });

  it("are shared with a job that the cache answers, until both are erased (H11, H28d)", async () => {
    const space = await makeSpace({ cache_ttl_s: 600 });
    const { socket: worker } = await connectWorker(space, { sends_files: true });
    const { id } = await submit(space.name);
    const job = await worker.next("job");
    await send(job, "a.png", PNG);
    await end(worker, framesFor(job).result("done", ["a.png"]));
    const { id: second } = await submit(space.name);
    const { status, outputs } = await jobOf(second);
    expect([status, outputs.map(({ name }) => name)]).toEqual(["completed", ["a.png"]]);
    await expectStatus(204, await call("DELETE", `/api/jobs/${id}`, undefined, OPERATOR));
    expect((await fetchFile(outputs[0]?.url ?? "")).status).toBe(200);
    await expectStatus(204, await call("DELETE", `/api/jobs/${second}`, undefined, OPERATOR));
    expect(await outputKeys(space)).toEqual([]);
  });

  it("go with finished jobs and with their space", async () => {
    const { space, worker, job } = await startJob({ result_ttl_s: 60 });
    await send(job, "a.png", PNG);
    await end(worker, framesFor(job).result(null, ["a.png"]));
    await passTimeTo(Date.now() + 61_000, [objectOf(space)]);
    await runDurableObjectAlarm(objectOf(space));
    vi.restoreAllMocks();
    expect(await outputKeys(space)).toEqual([]);
    const deleted = await startJob();
    await send(deleted.job, "b.png", PNG);
    await call("DELETE", `/api/spaces/${deleted.space.name}`, undefined, OPERATOR);
    expect(await outputKeys(deleted.space)).toEqual([]);
  });
});

describe("whoever fetches an output file", () => {
  async function finished(name: string, content: Uint8Array<ArrayBuffer> | string, type = "") {
    const started = await startJob();
    const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
    headers["repr-digest"] = digestOf(content);
    await expectStatus(201, await put(started.job, name, content, headers));
    await end(started.worker, framesFor(started.job).result(null, [name]));
    const [file] = (await jobOf(started.id)).outputs;
    if (file === undefined) throw new Error("no output");
    return { ...started, file };
  }

  it("needs no header, and may ask for a part (H28a, H28c)", async () => {
    const { file, id } = await finished("ü 1.png", PNG);
    expect(file.url).toMatch(/^\/api\/files\/spaces\//);
    expect(file.url).not.toContain(id.split(".")[1]);
    const whole = await fetchFile(file.url);
    expect(new Uint8Array(await whole.arrayBuffer())).toEqual(PNG);
    expect(Object.fromEntries(whole.headers)).toMatchObject({
      "content-type": "image/png",
      "content-disposition": "inline; filename*=UTF-8''%C3%BC%201.png",
      "x-content-type-options": "nosniff",
      "content-security-policy": expect.stringContaining("sandbox"),
      "cross-origin-resource-policy": "cross-origin",
      "repr-digest": digestOf(PNG),
    });
    const part = await fetchFile(file.url, { headers: { range: "bytes=1-3" } });
    expect([part.status, await part.text()]).toEqual([206, "PNG"]);
    const head = await fetchFile(file.url, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, `${PNG.length}`]);
    const named = await call("GET", `/api/jobs/${id}/outputs/${encodeURIComponent("ü 1.png")}`);
    expect(new Uint8Array(await named.arrayBuffer())).toEqual(PNG);
    const none = problemOf(404, call("GET", `/api/jobs/${id}/outputs/none.png`));
    expect(await none).toMatchObject({ code: "file_not_found" });
  });

  it("gets one file for an hour or two, and no other (H28a)", async () => {
    const { file } = await finished("a.png", PNG);
    const other = await finished("b.png", PNG);
    const [path] = other.file.url.split("?");
    const [, query] = file.url.split("?");
    expect((await fetchFile(`${path}?${query}`)).status).toBe(403);
    const clock = vi.spyOn(Date, "now");
    const now = Date.now();
    clock.mockImplementation(() => now + 3_599_000);
    expect((await fetchFile(file.url)).status).toBe(200);
    clock.mockImplementation(() => now + 7_201_000);
    expect(await problemOf(403, fetchFile(file.url))).toMatchObject({
      detail: expect.stringContaining("expired"),
    });
  });

  it.each([
    ["page.html", "<script>alert(1)</script>", "text/html", "application/octet-stream"],
    [
      "a.svg",
      "<svg xmlns='http://www.w3.org/2000/svg'/>",
      "image/svg+xml",
      "application/octet-stream",
    ],
    ["a.png", "<script>alert(1)</script>", "image/png", "text/plain; charset=utf-8"],
    ["data.json", '{"a":1}', "application/json", "application/json"],
  ])("can't run what is in it: %s (H28c)", async (name, content, type, served) => {
    const { file } = await finished(name, content, type);
    const answer = await fetchFile(file.url);
    expect(answer.headers.get("content-type")).toBe(served);
    const shown = served.startsWith("text/plain") ? "inline" : "attachment";
    expect(answer.headers.get("content-disposition")).toMatch(new RegExp(`^${shown};`));
    expect(answer.headers.get("content-security-policy")).toContain("sandbox");
  });
});

describe("the output files of a job", () => {
  it("are in every answer and stream that has the job (H28, F3, U2)", async () => {
    const { space, worker, id, job } = await startJob();
    const headers = { authorization: `Bearer ${await userToken("ada", { rooms: [] })}` };
    const gateway = await TestSocket.open("/ws", headers);
    gateway.send({ type: "subscribe", room: `job:${id}` });
    await gateway.next("subscribed");
    await send(job, "a.png", PNG);
    worker.send(framesFor(job).file("a.png"));
    expect(await gateway.next("output")).toMatchObject({ file: { name: "a.png" } });
    await end(worker, framesFor(job).result());
    const last = await gateway.next((frame) => frame.status === "completed");
    expect(last.outputs).toMatchObject([{ name: "a.png" }]);
    const { outputs } = await jobOf(id);
    const read = async (path: string) => {
      return (await expectStatus(200, await call("GET", path, undefined, OPERATOR))).text();
    };
    const list = JSON.parse(await read(`/api/spaces/${space.name}/jobs`));
    expect(list.jobs[0].outputs).toEqual(outputs);
    const status = JSON.parse(await read(`/websockets/status?request_id=${id}`));
    expect(status.outputs).toEqual(outputs);
    const events = await read(`/api/jobs/${id}/events`);
    expect(events).toContain(`"outputs":${JSON.stringify(outputs)}`);
    const made = await call(
      "POST",
      `/api/spaces/${space.name}/jobs`,
      { input: {}, user: "ada" },
      OPERATOR,
    );
    await expectStatus(202, made);
    const hers = await worker.next("job");
    await send(hers, "hers.png", PNG);
    await end(worker, framesFor(hers).result(null, ["hers.png"]));
    const data = JSON.parse(await read("/api/users/ada/export"));
    expect(data.jobs[0].outputs).toMatchObject([{ name: "hers.png" }]);
  });

  it("have whole addresses where the reader can't know the edge's (H28a)", async () => {
    const { space, worker, id, job } = await startJob();
    await send(job, "a.png", PNG);
    await end(worker, framesFor(job).result(null, ["a.png"]));
    const body = await runInDurableObject(objectOf(space), (object) => {
      const { parts } = Reflect.get(object, "engine") as SpaceEngine;
      return parts.reads.job(id.split(".")[1] ?? "", "https://dialout.example");
    });
    const { outputs } = JSON.parse(body ?? "{}") as { outputs: OutputFile[] };
    expect(outputs[0]?.url).toMatch(/^https:\/\/dialout\.example\/api\/files\//);
  });
});
