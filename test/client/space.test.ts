import { describe, expect, test } from "vitest";
import { DialoutClient, DialoutError } from "../../src/client/index.ts";
import type { SpaceStatus } from "../../src/protocol/resources.ts";
import { AT, type Frame, problem } from "../support/fake-subscriber-edge.ts";
import { jobResource } from "./jobs.ts";
import { JOB_ID, startClient } from "./start.ts";

function status(offset: number, worker: SpaceStatus["worker"]): Frame {
  const counts = { queue_size: 0, processing: 0, estimated_wait_s: null };
  return { type: "space.status", space: "demo", worker, ...counts, offset, timestamp: AT };
}

function connection(epoch: string, offset: number, recovered = false): Frame {
  return { type: "connection", space: "demo", epoch, offset, recovered, timestamp: AT };
}

describe("watching a space", () => {
  test("its status is reported at first and on every change, across reconnects, never twice (S3)", async () => {
    const { edge, client } = await startClient();
    const workers: string[] = [];
    client.space("demo").watch({ onStatus: ({ worker }) => workers.push(worker) });
    const first = await edge.socket();
    expect(first.path).toBe("/api/spaces/demo/ws");
    first.send(connection("e", 1), status(1, "disconnected"), status(2, "connected"));
    await expect.poll(() => workers).toEqual(["disconnected", "connected"]);
    first.close(1012);
    const second = await edge.socket();
    expect(second.query.get("since")).toBe("e:2");
    second.send(connection("e", 2, true), status(2, "connected"), status(3, "draining"));
    second.send(connection("f", 1), status(1, "connected"));
    const all = ["disconnected", "connected", "draining", "connected"];
    await expect.poll(() => workers).toEqual(all);
  });

  test("whoever begins later on the same socket gets the status that is true then, also after a reconnect (S3a)", async () => {
    const { edge, client } = await startClient();
    const seen: string[][] = [[], [], []];
    const watch = (index: number) =>
      client.space("demo").watch({ onStatus: ({ worker }) => seen[index]?.push(worker) });
    const early = watch(0);
    const first = await edge.socket();
    first.send(connection("e", 1), status(1, "connected"));
    await expect.poll(() => seen[0]).toEqual(["connected"]);
    watch(1);
    expect(seen[1]).toEqual([]);
    await expect.poll(() => seen[1]).toEqual(["connected"]);
    first.close(1012);
    await first.closed;
    watch(2);
    const second = await edge.socket();
    expect(second.query.get("since")).toBe("e:1");
    second.send(connection("e", 1, true));
    await expect.poll(() => seen[2]).toEqual(["connected"]);
    early.close();
    second.send(status(2, "draining"));
    await expect.poll(() => seen[2]).toEqual(["connected", "draining"]);
    expect(seen.slice(0, 2)).toEqual([["connected"], ["connected", "draining"]]);
    expect(edge.unasked).toBe(0);
  });

  test("a space that no longer exists ends the subscription (S14)", async () => {
    const { edge, client } = await startClient();
    const statuses = client.space("demo").statuses();
    const socket = await edge.socket();
    socket.send(connection("e", 1), status(1, "connected"));
    const error = { type: "error", code: "space_not_found", message: "Gone.", error: "Gone." };
    socket.send(error);
    socket.close(4404);
    expect((await statuses.next()).value).toMatchObject({ worker: "connected" });
    await expect(statuses.next()).rejects.toMatchObject({ code: "space_not_found" });
  });
});

describe("submitting to a space", () => {
  test("sends the input and the options, and returns the job (H5)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ status: 202, body: jobResource() });
    const job = await client.space("demo").submit({ prompt: "a cat" }, { priority: 3 });
    expect(job.id).toBe(JOB_ID);
    const [request] = edge.requests;
    expect([request?.method, request?.path]).toEqual(["POST", "/api/spaces/demo/jobs"]);
    expect(request?.json()).toEqual({ input: { prompt: "a cat" }, priority: 3 });
  });

  test("is repeated after a broken connection with the same idempotency key (H10)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => (edge.requests.length < 3 ? "drop" : { status: 202, body: jobResource() });
    await client.space("demo").submit({});
    const keys = edge.requests.map(({ headers }) => headers["idempotency-key"]);
    expect(keys).toEqual(Array(3).fill(keys[0]));
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  test("that is refused throws the edge's code, status and message, and is not repeated (H2)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({
      ...(problem(429, "queue_full", "The queue has 1 job.") as object),
      headers: { "retry-after": "7" },
    });
    const error = await client
      .space("demo")
      .submit({}, { idempotencyKey: "mine" })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(DialoutError);
    const told = { code: "queue_full", status: 429, message: "The queue has 1 job." };
    expect(error).toMatchObject({ ...told, retryAfterMs: 7_000 });
    expect(edge.requests).toHaveLength(1);
    expect(edge.requests[0]?.headers["idempotency-key"]).toBe("mine");
  });

  test("sends files as a form, with their names (H6)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ status: 202, body: jobResource() });
    const image = new File(["pixels"], "cat.png", { type: "image/png" });
    const options = { files: { image, notes: [new Blob(["a"]), new Blob(["b"])] } };
    await client.space("demo").submit({ n: 1 }, { ...options, requires: ["ocr", "gpu"] });
    const [request] = edge.requests;
    const type = String(request?.headers["content-type"]);
    const body = new Uint8Array(request?.body ?? []);
    const form = await new Response(body, { headers: { "content-type": type } }).formData();
    expect(form.get("input")).toBe('{"n":1}');
    expect(form.get("requires")).toBe("ocr,gpu");
    expect(form.getAll("notes")).toHaveLength(2);
    const sent = form.get("image") as File;
    expect([sent.name, sent.type, await sent.text()]).toEqual(["cat.png", "image/png", "pixels"]);
  });

  test("refuses settings that a form can't express before anything is sent", async () => {
    const { edge, client } = await startClient();
    const webhook = { url: "https://example.org", events: ["start" as const] };
    const files = { image: new Blob(["pixels"]) };
    const submit = client.space("demo").submit({}, { files, webhook });
    await expect(submit).rejects.toMatchObject({ code: "invalid_request" });
    expect(edge.requests).toHaveLength(0);
  });

  test("several at once returns one outcome per job, in order (H13)", async () => {
    const { edge, client } = await startClient();
    const refusal = problem(409, "worker_not_connected", "No worker.") as { body: object };
    edge.answer = () => ({
      status: 202,
      body: { jobs: [{ job: jobResource() }, { error: refusal.body }] },
    });
    const [first, second] = await client
      .space("demo")
      .submitMany([{ input: { n: 1 } }, { input: { n: 2 }, priority: 1, idempotencyKey: "k" }]);
    expect(first?.ok && first.job.id).toBe(JOB_ID);
    expect(second?.ok === false && second.error.code).toBe("worker_not_connected");
    const { jobs } = edge.requests[0]?.json() ?? {};
    expect(jobs).toMatchObject([
      { input: { n: 1 }, idempotency_key: expect.stringMatching(/^[0-9a-f]{32}$/) },
      { input: { n: 2 }, priority: 1, idempotency_key: "k" },
    ]);
  });
});

describe("a client", () => {
  test("reaches an edge under a path, and puts no secrets into addresses", async () => {
    const { edge } = await startClient();
    edge.answer = () => ({ body: jobResource() });
    const client = new DialoutClient({ url: `${edge.url}/edge/?a=b#c`, token: "a.b.c" });
    await client.job(JOB_ID).get();
    const following = client.job(JOB_ID).follow({});
    const socket = await edge.socket();
    expect(edge.requests[0]?.path).toBe(`/edge/api/jobs/${JOB_ID}`);
    expect(socket.path).toBe(`/edge/api/jobs/${JOB_ID}/ws`);
    expect(socket.query.size).toBe(0);
    following.close();
  });

  test("needs a valid address outside of a page", () => {
    expect(() => new DialoutClient()).toThrow("`url` is needed");
    expect(() => new DialoutClient({ url: "ws://edge" })).toThrow("begins with http: or https:");
  });

  test("reports that there is no WebSocket", () => {
    const { WebSocket } = globalThis;
    Reflect.deleteProperty(globalThis, "WebSocket");
    const follow = () => new DialoutClient({ url: "http://edge" }).job(JOB_ID).follow({});
    expect(follow).toThrow(expect.objectContaining({ code: "no_websocket" }));
    globalThis.WebSocket = WebSocket;
  });

  test("reports an answer that does not come from an edge", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ body: { hello: "world" } });
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "malformed_answer" });
    edge.answer = () => ({ status: 418 });
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "http_418", status: 418 });
  });

  test("uses the WebSocket class it is given", async () => {
    const { WebSocket } = await import("ws");
    const { edge, client } = await startClient({ WebSocket });
    const statuses = client.space("demo").statuses();
    (await edge.socket()).send(connection("e", 1), status(1, "connected"));
    expect((await statuses.next()).value).toMatchObject({ worker: "connected" });
  });
});
