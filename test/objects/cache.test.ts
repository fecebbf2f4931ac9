import { evictDurableObject } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  expectStatus,
  makeSpace,
  type NamedSpace,
  OPERATOR,
  objectOf,
  runSql,
  TestSocket,
} from "./support.ts";

const TTL_S = 600;

/** Makes a space with a cache, and connects its worker. */
async function makeCache(settings: Partial<SpaceSettings> = {}) {
  const space = await makeSpace({ cache_ttl_s: TTL_S, enable_file_upload: true, ...settings });
  const { socket: worker } = await connectWorker(space, { capabilities: ["gpu", "fp8"] });
  /** Lets the worker end its next job, which must be this one. */
  const answer = async (job_id: string, end: object = { type: "result", output: "made" }) => {
    expect(await worker.next("job")).toMatchObject({ job_id });
    for (const delta of ["a", "b"]) worker.send({ type: "output", job_id, attempt: 1, delta });
    worker.send({ job_id, attempt: 1, ...end });
    await worker.next("ack");
  };
  return { space, worker, answer };
}

interface SubmittedJob {
  id: string;
  status: string;
  cached: boolean;
  output: unknown;
  result: unknown;
  attempt: number;
}

async function submittedJobOf(response: Promise<Response>): Promise<SubmittedJob> {
  return (await expectStatus(202, await response)).json<SubmittedJob>();
}

function post(space: NamedSpace, body: unknown): Promise<SubmittedJob> {
  return submittedJobOf(call("POST", `/api/spaces/${space.name}/jobs`, body));
}

function upload(space: NamedSpace, content: string, fields: Record<string, string> = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("image", new File([content], "cat.png"), "cat.png");
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  return submittedJobOf(exports.default.fetch(url, { method: "POST", body: form }));
}

const SUBMIT = { input: { prompt: "hi", size: { w: 1, h: 2 } } };
const CACHED = { status: "completed", cached: true, output: "ab", result: "made", attempt: 0 };
const STARTED = { status: "processing", cached: false };

describe("an input whose job was completed before", () => {
  it("is answered at once with its output, result and metrics, and goes to no worker (H11, H11a)", async () => {
    const { space, worker, answer } = await makeCache();
    const first = await post(space, SUBMIT);
    expect(first).toMatchObject(STARTED);
    await answer(first.id, { type: "result", output: "made", metrics: { steps: 3 } });
    const again = await post(space, { priority: 3, input: { size: { h: 2, w: 1 }, prompt: "hi" } });
    expect(again).toMatchObject({ ...CACHED, metrics: { steps: 3 }, worker: null });
    expect(again.id).not.toBe(first.id);
    const other = await post(space, { input: { prompt: "ho" } });
    expect(await worker.next("job")).toMatchObject({ job_id: other.id });
  });

  it("is answered also over a socket, without a worker, and after the object was evicted from memory (H11a)", async () => {
    const { space, worker, answer } = await makeCache();
    await answer((await post(space, SUBMIT)).id);
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    worker.close();
    await viewer.next((frame) => frame.worker === "disconnected");
    await evictDurableObject(objectOf(space));
    viewer.send({ type: "submit", ref: 1, ...SUBMIT });
    const received = await viewer.until(({ status }) => status === "completed");
    expect(received.filter(({ type, space: of }) => type === "accepted" || !of)).toMatchObject([
      { type: "accepted", queue_position: null },
      { type: "progress", status: "queued", offset: 1 },
      { type: "output", delta: "a", offset: 2 },
      { type: "output", delta: "b", offset: 3 },
      { type: "progress", status: "completed", result: "made", offset: 4 },
    ]);
    const refused = await call("POST", `/api/spaces/${space.name}/jobs`, { input: {} });
    expect(refused.status).toBe(409);
  });

  it("is answered with the same file, but not with another file or other fields (H11)", async () => {
    const { space, worker, answer } = await makeCache({ concurrency: 1, offline: "queue" });
    await answer((await upload(space, "meow", { seed: "7" })).id);
    expect(await upload(space, "meow", { seed: "7" })).toMatchObject(CACHED);
    expect(await upload(space, "woof", { seed: "7" })).toMatchObject(STARTED);
    expect(await upload(space, "meow", { seed: "8" })).toMatchObject({ cached: false });
    expect(await post(space, { input: { seed: "7" } })).toMatchObject({ cached: false });
    expect(await worker.next("job")).toMatchObject({ files: [{ size: 4 }] });
  });

  it("is answered for the same capabilities in any order, but not for others (H11)", async () => {
    const { space, answer } = await makeCache();
    await answer((await post(space, { ...SUBMIT, requires: ["gpu", "fp8"] })).id);
    const same = { ...SUBMIT, requires: ["fp8", "gpu", "fp8"] };
    expect(await post(space, same)).toMatchObject(CACHED);
    expect(await post(space, { ...SUBMIT, requires: ["gpu"] })).toMatchObject(STARTED);
    expect(await post(space, SUBMIT)).toMatchObject({ cached: false });
  });

  it("runs again once the answer is older than `cache_ttl_s`, and cached answers don't renew it (H11)", async () => {
    const { space, answer } = await makeCache();
    await answer((await post(space, SUBMIT)).id);
    const age = "UPDATE jobs SET completed_at = completed_at - ? WHERE attempts > 0";
    await runSql(space, age, (TTL_S - 60) * 1_000);
    expect(await post(space, SUBMIT)).toMatchObject(CACHED);
    await runSql(space, age, 60_000);
    const third = await post(space, SUBMIT);
    expect(third).toMatchObject(STARTED);
    await answer(third.id, { type: "result", output: "anew" });
    expect(await post(space, SUBMIT)).toMatchObject({ cached: true, result: "anew" });
  });

  it("runs again if the job before failed or was canceled (H11)", async () => {
    const { space, worker, answer } = await makeCache();
    await answer((await post(space, SUBMIT)).id, { type: "fail", code: "oom", message: "no room" });
    const second = await post(space, SUBMIT);
    expect(second).toMatchObject(STARTED);
    await call("POST", `/api/jobs/${second.id}/cancel`);
    await worker.next("cancel");
    worker.send({ type: "fail", job_id: second.id, attempt: 1, code: "canceled", message: "" });
    await worker.next("ack");
    expect(await post(space, SUBMIT)).toMatchObject(STARTED);
  });

  it("runs again in another space, and when the space's cache is switched off (H11)", async () => {
    const { space, answer } = await makeCache();
    await answer((await post(space, SUBMIT)).id);
    const { space: other } = await makeCache();
    expect(await post(other, SUBMIT)).toMatchObject(STARTED);
    const patch = call("PATCH", `/api/spaces/${space.name}`, { cache_ttl_s: 0 }, OPERATOR);
    await expectStatus(200, await patch);
    expect(await post(space, SUBMIT)).toMatchObject(STARTED);
  });

  it("runs again in a space with default settings", async () => {
    const { space, answer } = await makeCache({ cache_ttl_s: undefined });
    await answer((await post(space, SUBMIT)).id);
    expect(await post(space, SUBMIT)).toMatchObject(STARTED);
  });
});
