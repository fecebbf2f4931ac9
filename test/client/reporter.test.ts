import { describe, expect, test } from "vitest";
import type { BackendJobResource } from "../../src/protocol/backend-jobs.ts";
import { AT, problem } from "../support/fake-subscriber-edge.ts";
import { jobResource } from "./jobs.ts";
import { startClient } from "./start.ts";

function backendJob(id: string): BackendJobResource {
  const about = { space: null, output_path: null, visibility: "public" as const };
  return { ...jobResource(), ...about, id };
}

function receipt(offset: number) {
  const about = { status: "processing", progress: 0, message: null, estimated_remaining: null };
  return { ...about, id: "render-42", output_path: null, attempt: 1, updated_at: AT, offset };
}

describe("a backend's job", () => {
  test("is created once even if the first answer is lost (B2)", async () => {
    const { edge, client } = await startClient({ token: "key" });
    edge.answer = (request) => {
      const { id } = request.json();
      return edge.requests.length === 1 ? "drop" : { status: 201, body: backendJob(String(id)) };
    };
    const job = await client.createJob({ input: { scene: "lake" } });
    expect(job.id).toMatch(/^[0-9a-f]{32}$/);
    const bodies = edge.requests.map((request) => request.json());
    expect(bodies).toEqual(Array(2).fill({ id: job.id, input: { scene: "lake" } }));
  });

  test("is reported in order, even if reports are not awaited", async () => {
    const { edge, client } = await startClient();
    let failures = 1;
    edge.answer = ({ path }) => {
      if (path.endsWith("/progress") && failures > 0) {
        failures -= 1;
        return { status: 503 };
      }
      if (path.endsWith("/complete")) return { body: backendJob("render-42") };
      return { body: receipt(edge.requests.length) };
    };
    const job = client.reporter("render-42");
    const reports = [job.progress({ progress: 10 }), job.output("a"), job.output({ n: 1 })];
    await Promise.all([...reports, job.complete({ frames: 30 })]);
    const kinds = edge.requests.map(({ path }) => path.split("/").at(-1));
    expect(kinds).toEqual(["progress", "progress", "output", "output", "complete"]);
    expect(edge.requests.at(-1)?.json()).toEqual({ result: { frames: 30 } });
  });

  test("has a progress from 0 to 100: a number outside is cut to that range (B3a)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => ({ body: receipt(edge.requests.length) });
    const job = client.reporter("render-42");
    for (const progress of [100.5, -1, 40, undefined]) await job.progress({ progress });
    const sent = edge.requests.map((request) => request.json().progress);
    expect(sent).toEqual([100, 0, 40, undefined]);
  });

  test("output without an answer is sent again with the same id (B4a)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => (edge.requests.length < 3 ? "drop" : { body: receipt(2) });
    await client.reporter("render-42").output("a");
    const bodies = edge.requests.map((request) => request.json());
    expect(bodies).toEqual(
      Array(3).fill({ delta: "a", id: expect.stringMatching(/^[0-9a-f]{32}$/) }),
    );
    expect(new Set(bodies.map(({ id }) => id)).size).toBe(1);
  });

  test("reports that wait for their turn when the client is closed are not sent", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => "hang";
    const job = client.reporter("render-42");
    const reports = [job.progress({ progress: 1 }), job.output("a"), job.complete()];
    await expect.poll(() => edge.requests).toHaveLength(1);
    client.close();
    for (const report of reports) {
      await expect(report).rejects.toMatchObject({ code: "connection_closed" });
    }
    edge.answer = () => ({ body: receipt(2) });
    await client.reporter("render-43").output("b");
    expect(edge.requests.map(({ path }) => path)).toEqual([
      "/api/jobs/render-42/progress",
      "/api/jobs/render-43/output",
    ]);
  });

  test("a refused report does not hold back later ones, and neither does one without an answer", async () => {
    const { edge, client } = await startClient({ timeout: 2_000 });
    edge.answer = ({ path }) => {
      if (path.endsWith("/output")) return "drop";
      if (path.endsWith("/fail")) return { body: backendJob("render-42") };
      return problem(422, "invalid_request", "progress: too big");
    };
    const job = client.reporter("render-42");
    const refused = job.progress({ progress: 400 });
    const unanswered = job.output("a");
    const failed = job.fail("No disk.", "disk_full");
    await expect(refused).rejects.toMatchObject({ code: "invalid_request" });
    await expect(unanswered).rejects.toMatchObject({ code: "unreachable" });
    await failed;
    const kinds = edge.requests.map(({ path }) => path.split("/").at(-1));
    expect([...new Set(kinds)]).toEqual(["progress", "output", "fail"]);
    expect(kinds.filter((kind) => kind !== "output")).toHaveLength(2);
    expect(edge.requests.at(-1)?.json()).toEqual({ message: "No disk.", code: "disk_full" });
  });
});
