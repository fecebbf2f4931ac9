import { describe, expect, it } from "vitest";
import { backendJobResource, reportReceipt } from "../../src/protocol/backend-jobs.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { sourceReport } from "../../src/protocol/monitor.ts";
import {
  bearer,
  followCaughtUp,
  freshId,
  makeJob,
  objectOf,
  readJob,
  report,
  reportOk,
  tablesOf,
} from "./backend-jobs-support.ts";
import { call, expectStatus, OPERATOR, problemOf } from "./support.ts";

describe("a job without a space", () => {
  it("is made under the id that its creator chose, and can be read by anybody who knows the id (B1, B6a)", async () => {
    const id = freshId();
    const body = { id, user: "ann", input: { prompt: "a cat" }, message: "in line" };
    const response = await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    expect(response.headers.get("location")).toBe(`/api/jobs/${id}`);
    const job = backendJobResource.parse(await response.json());
    expect(job).toMatchObject({
      ...body,
      space: null,
      status: "queued",
      progress: 0,
      visibility: "public",
      result: null,
      error: null,
      worker: null,
      attempt: 0,
      started_at: null,
      urls: { self: `/api/jobs/${id}`, cancel: `/api/jobs/${id}/cancel` },
    });
    expect(await readJob(id)).toEqual(job);
  });

  it("gets an id without a dot if its creator chose none (B1a)", async () => {
    const response = await expectStatus(201, await call("POST", "/api/jobs", {}, OPERATOR));
    const { id } = await response.json<{ id: string }>();
    expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(await readJob(id)).toMatchObject({ id, input: {} });
  });

  it("is made once: the same body is answered with the job, another body with the same id is refused (B2)", async () => {
    const body = { id: freshId(), input: { a: 1, b: 2 } };
    await expectStatus(201, await call("POST", "/api/jobs", body, OPERATOR));
    await reportOk(body.id, "progress", { progress: 10 });
    const again = { input: { b: 2, a: 1 }, id: body.id };
    const repeated = await expectStatus(200, await call("POST", "/api/jobs", again, OPERATOR));
    expect(await repeated.json()).toMatchObject({ progress: 10 });
    for (const other of [{ input: { a: 2 } }, { visibility: "private" }, { user: "bob" }]) {
      const problem = await problemOf(
        409,
        call("POST", "/api/jobs", { ...body, ...other }, OPERATOR),
      );
      expect(problem.code).toBe("job_exists");
    }
  });

  it("that two requests make at once is made by one, and the other is refused (B2)", async () => {
    const id = freshId();
    const calls = [1, 2].map((n) => call("POST", "/api/jobs", { id, input: { n } }, OPERATOR));
    const statuses = (await Promise.all(calls)).map(({ status }) => status);
    expect(statuses.sort()).toEqual([201, 409]);
  });

  it("goes from queued over progress and output to its result by reports (B3, B5)", async () => {
    const id = await makeJob();
    const first = await reportOk(id, "progress", {
      progress: 25,
      message: "painting",
      estimated_remaining: 8,
    });
    expect(reportReceipt.parse(first)).toMatchObject({ id, status: "processing", offset: 2 });
    await reportOk(id, "output", { delta: "a " });
    expect(await reportOk(id, "output", { delta: "cat" })).toMatchObject({
      progress: 25,
      offset: 4,
    });
    expect(await readJob(id)).toMatchObject({
      status: "processing",
      progress: 25,
      message: "painting",
      estimated_remaining: 8,
      output: "a cat",
      attempt: 1,
      completed_at: null,
    });
    const end = { result: { url: "x" }, output_path: "s3://a/b", metrics: { seconds: 2 } };
    const job = backendJobResource.parse(await reportOk(id, "complete", end));
    expect(job).toMatchObject({ ...end, status: "completed", progress: 100, output: "a cat" });
    expect(await readJob(id)).toEqual(job);
  });

  it("that failed has the error that its backend reported", async () => {
    const id = await makeJob();
    const error = { code: "out_of_memory", message: "no room" };
    expect(await reportOk(id, "fail", error)).toMatchObject({ status: "failed", error });
    const other = await makeJob();
    expect(await reportOk(other, "fail", { message: "no room" })).toMatchObject({
      error: { code: "worker_error", message: "no room" },
    });
  });

  it("can be canceled, with a reason or without", async () => {
    const [first, second] = [await makeJob(), await makeJob()];
    expect(await (await report(first, "cancel")).json()).toMatchObject({
      status: "canceled",
      error: { code: "canceled", message: "Canceled on request." },
    });
    expect(await reportOk(second, "cancel", { reason: "no budget" })).toMatchObject({
      error: { code: "canceled", message: "no budget" },
    });
  });

  it("stays as it ended: the same end again gets the same answer, anything else is refused (B4)", async () => {
    const id = await makeJob();
    const ended = await reportOk(id, "complete", { result: [1, { a: 1, b: 2 }] });
    expect(await reportOk(id, "complete", { result: [1, { b: 2, a: 1 }] })).toEqual(ended);
    const late: [string, object][] = [
      ["complete", { result: 2 }],
      ["fail", { message: "late" }],
      ["cancel", {}],
      ["progress", { progress: 5 }],
      ["output", { delta: "late" }],
    ];
    for (const [type, body] of late) {
      expect((await problemOf(409, report(id, type, body))).code).toBe("job_ended");
    }
    expect(await readJob(id)).toEqual(ended);
  });

  it("that several requests end at once ends as the first of them says (B4)", async () => {
    const id = await makeJob();
    const ends = await Promise.all([
      report(id, "complete", { result: 1 }),
      report(id, "complete", { result: 1 }),
      report(id, "fail", { message: "late" }),
      report(id, "output", { delta: "late" }),
    ]);
    expect(ends.map(({ status }) => status)).toEqual([200, 200, 409, 409]);
    expect(await readJob(id)).toMatchObject({ status: "completed", result: 1, output: null });
  });

  it("stores every one of many reports that come at once", async () => {
    const id = await makeJob();
    const deltas = Array.from({ length: 50 }, (_, index) => `${index} `);
    await Promise.all(deltas.map((delta) => reportOk(id, "output", { delta })));
    const { output } = await readJob(id);
    expect(String(output).trim().split(" ").sort()).toEqual(
      deltas.map((delta) => delta.trim()).sort(),
    );
  });

  it("has `output_truncated` once the beginning of its output was dropped (C11b)", async () => {
    const id = await makeJob();
    const delta = "x".repeat(LIMITS.jobLogBytes / 3);
    for (let piece = 0; piece < 4; piece += 1) await reportOk(id, "output", { delta });
    const { output, output_truncated } = await readJob(id);
    expect(output_truncated).toBe(true);
    expect(String(output).length).toBeLessThanOrEqual(LIMITS.jobLogBytes);
  });
});

describe("the report of a job to the monitor", () => {
  it("has its state and its sockets, and is null before the job is made, even if a client waits for it", async () => {
    const id = freshId();
    expect(await objectOf(id).getReport()).toBeNull();
    const waiting = await followCaughtUp(id);
    expect(await objectOf(id).getReport()).toBeNull();
    await expectStatus(201, await call("POST", "/api/jobs", { id }, OPERATOR));
    await reportOk(id, "progress", { progress: 40 });
    const report = sourceReport.parse(await objectOf(id).getReport());
    expect(report).toMatchObject({
      kind: "job",
      connections: 1,
      jobs_with_connections: 1,
      jobs: { active: 1, completed: 0 },
      recent: [{ id, space: null, status: "processing", progress: 40 }],
    });
    await reportOk(id, "complete");
    await waiting.closed;
    expect(await objectOf(id).getReport()).toMatchObject({
      connections: 0,
      jobs_with_connections: 0,
      jobs: { active: 0, completed: 1 },
    });
  });
});

describe("a report about a job without a space", () => {
  it("needs the operator's key or a token whose `publish` names the job (B6)", async () => {
    const id = freshId();
    const create = (headers: Record<string, string>) => call("POST", "/api/jobs", { id }, headers);
    expect((await problemOf(401, create({}))).code).toBe("not_authenticated");
    expect((await problemOf(401, create({ authorization: "Bearer nonsense" }))).code).toBe(
      "not_authenticated",
    );
    expect(
      (await problemOf(401, create(await bearer({ publish: [`job:${id}`] }, -60)))).detail,
    ).toMatch(/expired/);
    for (const claims of [{}, { rooms: ["*"] }, { publish: ["job:other", "project:*"] }]) {
      expect((await problemOf(403, create(await bearer(claims)))).code).toBe("not_allowed");
    }
    expect(await tablesOf(id)).toEqual([]);
    await expectStatus(201, await create(await bearer({ publish: [`job:${id}`] })));
    for (const publish of [["*"], ["job:*"], `job:${id}`]) {
      const headers = await bearer({ publish });
      await expectStatus(200, await call("POST", `/api/jobs/${id}/progress`, {}, headers));
    }
    const stranger = await bearer({ rooms: ["*"] });
    for (const type of ["progress", "output", "complete", "fail", "cancel"]) {
      await problemOf(401, call("POST", `/api/jobs/${id}/${type}`, {}));
      await problemOf(403, call("POST", `/api/jobs/${id}/${type}`, {}, stranger));
    }
    expect(await readJob(id)).toMatchObject({ status: "processing" });
  });

  it("that doesn't exist is refused, and makes no job", async () => {
    const id = freshId();
    for (const [type, body] of [
      ["progress", {}],
      ["output", { delta: 1 }],
      ["cancel", {}],
    ] as const) {
      expect((await problemOf(404, report(id, type, body))).code).toBe("job_not_found");
    }
    expect((await problemOf(404, call("GET", `/api/jobs/${id}`))).code).toBe("job_not_found");
    expect((await problemOf(404, call("GET", `/api/jobs/${id}/events`))).code).toBe(
      "job_not_found",
    );
    expect(await tablesOf(id)).toEqual([]);
  });

  it.each([
    ["progress", { progress: 101 }, "progress"],
    ["progress", { status: "completed" }, "status"],
    ["progress", { percent: 5 }, ""],
    ["output", {}, "delta"],
    ["fail", { code: "oom" }, "message"],
    ["complete", { metrics: 5 }, "metrics"],
    ["cancel", { reason: 5 }, "reason"],
    ["progress", [], ""],
  ])("must have valid fields: %s %o", async (type, body, path) => {
    const id = await makeJob();
    const { code, errors } = await problemOf(422, report(id, type, body));
    expect(code).toBe("invalid_request");
    expect(errors?.[0]?.path).toBe(path);
  });

  it("changes nothing if its body can't be read or is too large (H3)", async () => {
    const id = await makeJob();
    const post = (body: string, headers = {}) =>
      call("POST", `/api/jobs/${id}/complete`, body, { ...OPERATOR, ...headers });
    const json = { "content-type": "application/json" };
    await problemOf(415, post("{}", { "content-type": "text/plain" }));
    await problemOf(400, post("{", json));
    await problemOf(400, post("", json));
    await problemOf(413, post(JSON.stringify({ result: "x".repeat(LIMITS.jsonBodyBytes) }), json));
    const input = { text: "x".repeat(LIMITS.inputBytes) };
    await problemOf(413, call("POST", "/api/jobs", { input }, OPERATOR));
    expect(await readJob(id)).toMatchObject({ status: "queued", result: null });
  });

  it("is answered 404 under an id that no job can have (B1a)", async () => {
    for (const id of ["a.b", "x".repeat(65), "na%C3%AFve", "monitor"]) {
      await problemOf(404, report(id, "progress", {}));
      await problemOf(404, call("GET", `/api/jobs/${id}`));
    }
    const { errors } = await problemOf(422, call("POST", "/api/jobs", { id: "a.b" }, OPERATOR));
    expect(errors?.[0]?.path).toBe("id");
  });
});

describe("a private job", () => {
  it("can be read by the operator, and with a token whose `publish` or `rooms` names it (B6a, B6b)", async () => {
    const id = await makeJob({ visibility: "private" });
    expect((await problemOf(401, call("GET", `/api/jobs/${id}`))).code).toBe("not_authenticated");
    const stranger = await bearer({ rooms: ["job:other"] });
    for (const path of [`/api/jobs/${id}`, `/api/jobs/${id}/events`]) {
      expect((await problemOf(403, call("GET", path, undefined, stranger))).code).toBe(
        "not_allowed",
      );
    }
    for (const claims of [{ rooms: [`job:${id}`] }, { rooms: ["*"] }, { publish: ["job:*"] }]) {
      expect(await readJob(id, await bearer(claims))).toMatchObject({ id, visibility: "private" });
    }
    const { authorization } = await bearer({ rooms: ["*"] });
    const token = authorization.slice("Bearer ".length);
    await expectStatus(200, await call("GET", `/api/jobs/${id}?token=${token}`));
    expect(await readJob(id, OPERATOR)).toMatchObject({ id });
  });
});
