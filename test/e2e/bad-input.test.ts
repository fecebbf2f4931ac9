import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { FrameSocket } from "../support/frame-socket.ts";
import { EdgeClient } from "./client.ts";

const MB = 1_048_576;
const edge = new EdgeClient(inject("edgeUrl"));
let space: { name: string; token: string };
let worker: FrameSocket;
let viewer: FrameSocket;

/** Whatever a test sends must not disturb this worker and viewer: `afterEach` runs a job with them. */
beforeEach(async () => {
  space = await edge.makeSpace({ enable_prompt: false });
  worker = await connectWorker();
  worker.send({ type: "register", worker_id: "steady" });
  await worker.next("registered");
  viewer = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/ws`);
});

afterEach(async () => {
  viewer.send({ type: "submit", ref: "last", input: { n: 1 } });
  const { job_id } = await viewer.next("accepted");
  await worker.next((frame) => frame.type === "job" && frame.job_id === job_id);
  worker.send({ type: "result", job_id, attempt: 1, output: "fine" });
  expect(await viewer.next((frame) => frame.status === "completed")).toMatchObject({
    result: "fine",
  });
  worker.close();
  viewer.close();
});

function connectWorker(): Promise<FrameSocket> {
  return FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
    authorization: `Bearer ${space.token}`,
  });
}

function post(body?: RequestInit["body"], type = "application/json"): Promise<Response> {
  const headers: Record<string, string> = body === undefined ? {} : { "content-type": type };
  return fetch(`${edge.url}/api/spaces/${space.name}/jobs`, { method: "POST", body, headers });
}

async function expectProblem(answer: Promise<Response>, status: number, code: string) {
  const response = await answer;
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(response.headers.get("x-request-id")).toBeTruthy();
  const problem = (await response.json()) as { status: number; code: string; detail: string };
  expect(problem).toMatchObject({ status, code });
  expect(response.status).toBe(status);
  expect(problem.detail.length).toBeGreaterThan(10);
  return problem;
}

describe("a submit over HTTP", () => {
  it.each<[string, RequestInit["body"] | undefined, number, string]>([
    ["without a body", undefined, 415, "unsupported_media_type"],
    ["with an empty body", "", 400, "invalid_json"],
    ["that is not JSON", "{input:", 400, "invalid_json"],
    ["that is not UTF-8", new Uint8Array([0x22, 0xff, 0x22]), 400, "invalid_json"],
    ["whose body is a list", "[]", 422, "invalid_request"],
    ["without an input", "{}", 422, "invalid_request"],
    ["whose input is a string", '{"input":"hi"}', 422, "invalid_request"],
    [
      "with a priority that is not a number",
      '{"input":{},"priority":"high"}',
      422,
      "invalid_request",
    ],
    ["with an unknown field", '{"input":{},"prioriti":1}', 422, "invalid_request"],
    ["with a field `__proto__`", '{"input":{},"__proto__":{"priority":1}}', 422, "invalid_request"],
    [
      "that is nested too deeply",
      `{"input":{"a":${"[".repeat(99)}${"]".repeat(99)}}}`,
      400,
      "invalid_json",
    ],
    [
      "with a prompt that the space does not take",
      '{"input":{"prompt":"hi"}}',
      422,
      "prompt_not_enabled",
    ],
    [
      "whose input is too large",
      `{"input":{"a":"${"x".repeat(0.9 * MB)}"}}`,
      413,
      "payload_too_large",
    ],
    ["of 20 MB", `{"input":{"a":"${"x".repeat(20 * MB)}"}}`, 413, "payload_too_large"],
  ])("%s is answered with a problem that has its code (H2, H3)", async (_, body, status, code) => {
    await expectProblem(post(body), status, code);
  });

  it("as a form without its boundary, or with a file that the space does not take, is answered with a problem (H6)", async () => {
    await expectProblem(post("--x", "multipart/form-data; boundary=y"), 400, "invalid_multipart");
    const form = new FormData();
    form.append("file", new File(["x"], "x.txt"));
    const answer = fetch(`${edge.url}/api/spaces/${space.name}/jobs`, {
      method: "POST",
      body: form,
    });
    await expectProblem(answer, 422, "file_upload_not_enabled");
  });

  it("is answered with the name of the wrong field and nothing about the code inside", async () => {
    const problem = await expectProblem(post('{"input":{},"prioriti":1}'), 422, "invalid_request");
    expect(problem.detail).toContain("prioriti");
    expect(JSON.stringify(problem)).not.toMatch(/\.ts|at .*\(/);
  });
});

describe("an address", () => {
  it.each([
    ["GET", "/api/spaces/none", 404, "space_not_found"],
    ["GET", "/api/spaces/No%20Name", 404, "space_not_found"],
    ["POST", "/api/spaces/none/jobs", 404, "space_not_found"],
    ["GET", "/api/jobs/none.01JZZZZZZZZZZZZZZZZZZZZZZZ", 404, "job_not_found"],
    ["GET", "/api/jobs/..%2f..%2fetc", 404, "job_not_found"],
    ["GET", "/api/nothing", 404, "not_found"],
    ["GET", "/api/spaces?limit=1000", 422, "invalid_request"],
    ["GET", "/api/spaces/none/ws", 426, "upgrade_required"],
    ["GET", "/api/files/spaces/none/inputs/x/0", 403, "not_allowed"],
    ["POST", "/api/spaces", 401, "not_authenticated"],
  ])(
    "%s %s is answered with a problem that has its code (H2, H3)",
    async (method, path, status, code) => {
      const body = path.endsWith("/jobs") ? { input: {} } : undefined;
      await expectProblem(edge.call(method, path, body), status, code);
    },
  );
});

describe("a worker's socket", () => {
  it.each<[string, object | string | Uint8Array, string, number]>([
    ["text that is not JSON", "{type:", "malformed_frame", 4400],
    ["JSON that is not a frame", "[1]", "malformed_frame", 4400],
    ["an unknown frame", { type: "hack" }, "unknown_frame", 4400],
    [
      "a frame with a field of the wrong type",
      { type: "register", worker_id: 7 },
      "malformed_frame",
      4400,
    ],
    ["a binary frame", randomBytes(999), "binary_frame", 4400],
    ["a frame before `register`", { type: "drain", reason: "x" }, "not_registered", 4400],
    ["a frame that is too large", `"${"x".repeat(2 * MB)}"`, "frame_too_large", 1009],
  ])("that sends %s gets the error and is closed (W30)", async (_, data, code, close) => {
    const socket = await connectWorker();
    await socket.next("hello");
    socket.send(data);
    expect(await socket.next("error")).toMatchObject({ code });
    expect((await socket.closed).code).toBe(close);
  });
});

describe("a subscriber's socket", () => {
  it.each<[string, object | string | Uint8Array, string]>([
    ["text that is not JSON", "{type:", "malformed_frame"],
    ["an unknown frame", { type: "hack" }, "unknown_frame"],
    ["a submit without input", { type: "submit", ref: 1 }, "malformed_frame"],
    ["a binary frame", randomBytes(999), "binary_frame"],
  ])("that sends %s gets the error, and is closed after the third (S6)", async (_, data, code) => {
    const socket = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/ws`);
    for (const time of ["first", "second", "third"]) {
      socket.send(data);
      expect(await socket.next("error"), time).toMatchObject({ code });
    }
    expect((await socket.closed).code).toBe(4400);
  });

  it("that sends a frame that is too large is closed with 1009 (C3, S14)", async () => {
    const socket = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/ws`);
    socket.send("x".repeat(2 * MB));
    expect(await socket.next("error")).toMatchObject({ code: "frame_too_large" });
    expect((await socket.closed).code).toBe(1009);
  });

  it("receives the ref of the submit that was refused, and why (S8)", async () => {
    viewer.send({ type: "submit", ref: "a", input: { prompt: "hi" } });
    expect(await viewer.next("error")).toMatchObject({ ref: "a", code: "prompt_not_enabled" });
    viewer.send({ type: "cancel", job_id: `${space.name}.01JZZZZZZZZZZZZZZZZZZZZZZZ` });
    expect(await viewer.next("error")).toMatchObject({ code: "job_not_found" });
  });
});
