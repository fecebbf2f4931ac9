import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { runBareEdge } from "./bare-edge.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState } from "./edge.ts";

const QUEUED = 8;

/** Appends the job's id to a file on every run, so that a test can count the runs after a crash. */
const PROGRAM = `
  const { appendFileSync } = require("node:fs");
  const { job_id, input } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  appendFileSync(process.argv[1], job_id + "\\n");
  console.log("piece " + input.prompt);
  setTimeout(() => {
    console.log(JSON.stringify({ type: "result", output: "did " + input.prompt }));
  }, 300);`;

describe("an edge that is killed with kill -9", () => {
  let state: string;
  let edge: RunningEdge;

  beforeEach(async () => {
    state = await makeState();
    edge = await runBareEdge(state, await freePort());
  });
  afterEach(async () => {
    await edge.program.killAll();
    await removeState(state);
  });

  it("runs every job that it had accepted exactly once after the restart, with its result", async () => {
    const client = new EdgeClient(edge.url);
    // Long enough for the edge to restart: the worker must be back within its grace (W24).
    const space = await client.makeSpace({ reconnect_grace_s: 120 });
    const runs = `${state}/runs`;
    await client.startWorker(space, ["exec", "--", "node", "-e", PROGRAM, runs]);
    const prompts = Array.from({ length: QUEUED }, (_, index) => `job ${index}`);
    const jobs = [];
    for (const prompt of prompts) jobs.push(await client.submit(space.name, { prompt }));
    await edge.program.killAll();
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    for (const [index, { id }] of jobs.entries()) {
      expect(await client.ended(id)).toMatchObject({
        status: "completed",
        output: `piece job ${index}\n`,
        result: `did job ${index}`,
      });
    }
    const ran = readFileSync(runs, "utf8").trim().split("\n");
    expect(ran.sort()).toEqual(jobs.map(({ id }) => id).sort());
  });

  it("has every output file of a job whole, whenever it was killed while they came (W36a)", {
    timeout: 120_000,
  }, async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ reconnect_grace_s: 120 });
    const script = `
      const { writeFileSync } = require("node:fs");
      const names = ["a", "b", "c", "d"];
      for (const name of names) {
        writeFileSync(process.env.DIALOUT_OUTPUT_DIR + "/" + name, name.repeat(8_000_000));
        console.log(JSON.stringify({ type: "output", file: name }));
      }`;
    await client.startWorker(space, ["exec", "--", "node", "-e", script]);
    const { id } = await client.submit(space.name, {});
    for (const delayMs of [150, 400]) {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await edge.program.killAll();
      edge = await runBareEdge(state, Number(new URL(edge.url).port));
    }
    const { status, outputs } = await client.ended(id);
    expect([status, outputs.map(({ name }) => name)]).toEqual(["completed", ["a", "b", "c", "d"]]);
    for (const { name, url } of outputs) {
      const text = await (await fetch(new URL(url, edge.url))).text();
      expect(text === name.repeat(8_000_000)).toBe(true);
    }
  });

  it("counts the time in which it was away against nobody: neither an attempt nor a waiting job (W24c, H19)", async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ job_timeout_s: 7, queue_timeout_s: 7 });
    const slow = PROGRAM.replace("300", "2_500");
    await client.startWorker(space, ["exec", "--", "node", "-e", slow, `${state}/runs`]);
    const running = await client.submit(space.name, { prompt: "one" });
    const waiting = await client.submit(space.name, { prompt: "two" });
    await edge.program.killAll();
    // The outage: both limits run out in it, and the worker's attempt ends.
    await new Promise((resolve) => setTimeout(resolve, 9_000));
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    expect(await client.ended(running.id)).toMatchObject({ attempt: 1, result: "did one" });
    expect(await client.ended(waiting.id)).toMatchObject({ attempt: 1, result: "did two" });
  });

  it("and one that only stood still counts that time against nobody either (W24d, H19a)", async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ job_timeout_s: 5, queue_timeout_s: 5 });
    const slow = PROGRAM.replace("300", "2_500");
    const program = ["exec", "--concurrency", "1", "--", "node", "-e", slow, `${state}/runs`];
    await client.startWorker(space, program);
    const running = await client.submit(space.name, { prompt: "one" });
    const waiting = await client.submit(space.name, { prompt: "two" });
    // All that counts by the clock runs out in it.
    await edge.program.standStill(9_000);
    expect(await client.ended(running.id)).toMatchObject({ attempt: 1, result: "did one" });
    expect(await client.ended(waiting.id)).toMatchObject({ attempt: 1, result: "did two" });
  });

  it("together with its worker loses no job: another worker runs the rest, an interrupted one as its next attempt", async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ reconnect_grace_s: 1 });
    const echo = ["exec", "--", "node", "-e", PROGRAM, `${state}/runs`];
    const worker = await client.startWorker(space, echo);
    const jobs = [];
    for (const prompt of ["one", "two", "three"]) {
      jobs.push(await client.submit(space.name, { prompt }));
    }
    await Promise.all([edge.program.killAll(), worker.killAll()]);
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    await client.startWorker(space, echo);
    const ended = await Promise.all(jobs.map(({ id }) => client.ended(id)));
    expect(ended.map(({ result }) => result)).toEqual(["did one", "did two", "did three"]);
    expect(ended.map(({ attempt }) => attempt)).toEqual([2, 1, 1]);
  });

  it("still has every report of a backend's job that it had answered, and followers continue (B4, C9)", async () => {
    const headers = {
      authorization: `Bearer ${operatorKey()}`,
      "content-type": "application/json",
    };
    const post = async (path: string, body: object) => {
      const response = await fetch(edge.url + path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      expect(response.ok).toBe(true);
    };
    const id = "render-7";
    await post("/api/jobs", { id });
    const first = await FrameSocket.open(`${edge.url}/ws/${id}`);
    const { epoch } = await first.next("connection");
    for (const progress of [10, 20, 30]) {
      await post(`/api/jobs/${id}/progress`, { progress, message: `at ${progress}` });
    }
    const seen = await first.next(({ progress }) => progress === 20);
    await edge.program.killAll();
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    const second = await FrameSocket.open(`${edge.url}/ws/${id}?since=${epoch}:${seen.offset}`);
    expect(await second.next("connection")).toMatchObject({ epoch, recovered: true });
    expect(await second.next("progress")).toMatchObject({ progress: 30, message: "at 30" });
    await post(`/api/jobs/${id}/complete`, { result: "done", output_path: "out/7.png" });
    const end = await second.next("progress");
    expect(end).toMatchObject({ status: "completed", result: "done", output_path: "out/7.png" });
    expect(await second.closed).toMatchObject({ code: 1000 });
  });
});
