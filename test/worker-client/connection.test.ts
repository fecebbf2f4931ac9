import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { backoffMs, WorkerRefused } from "../../worker-client/index.ts";
import { FakeEdge, JOB_ID, jobFrame, SPACE, TOKEN } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const handler = async () => null;

describe("dialing", () => {
  test("a worker sends its token and protocol, and registers after hello (W1, W2, W6)", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler, name: "box", concurrency: 3 });
    const connection = await edge.connection();
    expect(connection.path).toBe(`/api/spaces/${SPACE}/connect?batch=1`);
    expect(connection.headers.authorization).toBe(`Bearer ${TOKEN}`);
    expect(connection.headers["sec-websocket-protocol"]).toBe("dialout.worker.v1");
    expect(await connection.welcome()).toEqual({
      type: "register",
      worker_id: worker.id,
      name: "box",
      concurrency: 3,
      capabilities: [],
      resume: [],
      sends_files: true,
    });
  });

  test("what follows # or ? in the edge's address is left out", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler, url: `${edge.url}/?page=1#jobs` });
    const connection = await edge.connection();
    expect(connection.path).toBe(`/api/spaces/${SPACE}/connect?batch=1`);
    expect(await connection.welcome()).toMatchObject({ worker_id: worker.id });
  });

  test("two workers on one machine have different ids, and each keeps its own over reconnects (W6a)", async () => {
    const edge = await startEdge();
    const first = startWorker(edge, { handler }).worker;
    const connection = await edge.connection();
    await connection.welcome();
    connection.drop();
    const again = await (await edge.connection()).welcome();
    expect(again.worker_id).toBe(first.id);
    expect(startWorker(edge, { handler }).worker.id).not.toBe(first.id);
  });

  test("a worker dials an absent edge until it answers (W4)", async () => {
    const absent = await FakeEdge.start();
    await absent.close();
    const { logged } = startWorker(absent, { handler });
    await expect.poll(() => logged.join("\n")).toContain("nothing listens at 127.0.0.1");
    const edge = await FakeEdge.start(Number(new URL(absent.url).port));
    await (await edge.connection()).welcome();
    await edge.close();
  });

  test.each([1001, 1006, 1012, 4408, 4429])(
    "the worker dials again after close %i (W30)",
    async (code) => {
      const edge = await startEdge();
      startWorker(edge, { handler });
      const connection = await edge.connection();
      await connection.welcome();
      if (code === 1006) connection.drop();
      else connection.close(code, "later");
      await (await edge.connection()).welcome();
    },
  );

  test("a worker dials again after the edge announced a drain and closed (W28b, W30)", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome();
    connection.send({ type: "drain", reason: "deploy" });
    connection.close(1012);
    await (await edge.connection()).welcome();
  });

  test("a worker that receives nothing for a whole lease drops the connection and dials again (W10)", async () => {
    const edge = await startEdge();
    const { worker, logged } = startWorker(edge, { handler });
    const connection = await edge.connection();
    connection.answersPings = false;
    await connection.welcome({ heartbeat_s: 0.02, lease_s: 0.1 });
    await connection.ping();
    await (await edge.connection()).welcome();
    expect(logged.join("\n")).toContain("no message from the edge for");
    await expect.poll(() => worker.statistics().reconnects).toBe(1);
  });

  test("answered pings keep an idle connection open (W9, W10)", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome({ heartbeat_s: 0.02, lease_s: 0.5 });
    for (let beat = 0; beat < 30; beat += 1) await connection.ping();
    expect(edge.dials).toBe(1);
  });

  test("unknown and malformed frames from the edge are ignored (C1)", async () => {
    const edge = await startEdge();
    const { logged } = startWorker(edge, { handler: async () => "done" });
    const connection = await edge.connection();
    await connection.welcome();
    connection.sendText('{"type":"weather","sunny":true}');
    connection.sendText("{nonsense");
    connection.sendText('{"type":"job"}');
    const job = await connection.dispatch();
    expect(await connection.next("result")).toMatchObject({ job_id: job.job_id, output: "done" });
    expect(logged.filter((line) => line.startsWith("ignored"))).toHaveLength(3);
  });
});

describe("refusals", () => {
  test.each([
    [401, "not_authenticated"],
    [403, "not_allowed"],
    [404, "not_found"],
    [409, "space_occupied"],
    [426, "policy"],
  ])(
    "an upgrade answered with %i ends the worker with the edge's reason (W3, W4)",
    async (status, code) => {
      const edge = await startEdge();
      edge.refuse(status, "Said the edge.");
      const { ended } = startWorker(edge, { handler });
      const error = await ended;
      expect(error).toBeInstanceOf(WorkerRefused);
      expect(error).toMatchObject({ code, message: "Said the edge." });
      expect(edge.dials).toBe(1);
    },
  );

  test.each([429, 500, 503])("an upgrade answered with %i is tried again (W4)", async (status) => {
    const edge = await startEdge();
    edge.refuse(status, "Not now.");
    startWorker(edge, { handler });
    await (await edge.connection()).welcome();
    expect(edge.dials).toBe(2);
  });

  test.each([401, 403, 404, 409, 502])(
    "an upgrade that a proxy answers with %i is tried again (W4a)",
    async (status) => {
      const edge = await startEdge();
      edge.answerAsProxy(status);
      const { logged } = startWorker(edge, { handler });
      await (await edge.connection()).welcome();
      expect(logged.join("\n")).toContain(
        `something before the edge answered with status ${status}`,
      );
    },
  );

  test("an upgrade that a proxy answers with a redirect is reported with the address (W4a)", async () => {
    const edge = await startEdge();
    edge.answerAsProxy(301, "location: https://edge.example/api?token=secret");
    const { logged } = startWorker(edge, { handler });
    await (await edge.connection()).welcome();
    const line = logged.find((text) => text.includes("status 301"));
    expect(line).toContain("it redirects to https://edge.example: give that as the address");
    expect(line).not.toContain("secret");
  });

  test("an outage is reported once, and its end (W4)", async () => {
    const edge = await startEdge();
    for (let dial = 0; dial < 20; dial += 1) edge.answerAsProxy(502);
    const log = { debug: () => {}, info: () => {}, warn: vi.fn(), error: () => {} };
    startWorker(edge, { handler, log });
    await (await edge.connection()).welcome();
    expect(edge.dials).toBe(21);
    expect(log.warn).toHaveBeenCalledTimes(1);
  });

  test.each([
    [1008, "policy", "the edge refused this worker"],
    [4400, "malformed_frame", "the edge did not understand a frame"],
    [4401, "not_authenticated", "the token is wrong or revoked"],
    [4403, "not_allowed", "the token may not serve this space"],
    [4404, "not_found", "no such space"],
    [4409, "replaced", "another worker serves this space"],
  ])("close %i ends the worker for good (W30)", async (closeCode, code, message) => {
    const edge = await startEdge();
    const { ended } = startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome();
    connection.close(closeCode);
    expect(await ended).toMatchObject({ name: "WorkerRefused", code, message });
    expect(edge.dials).toBe(1);
  });

  test("the error frame before a close gives the reason, which is reported once (W30)", async () => {
    const edge = await startEdge();
    const { ended, logged } = startWorker(edge, { handler });
    const connection = await edge.connection();
    connection.hello();
    await connection.next("register");
    connection.error("space_occupied", "gpu-7 is connected.");
    connection.close(4409);
    expect(await ended).toMatchObject({
      code: "space_occupied",
      message: "gpu-7 is connected.",
    });
    // The caller of `run` reports the error that it threw.
    expect(logged.join("\n")).not.toContain("gpu-7");
  });

  test("an error frame that no close follows is logged, and isn't taken for the reason of a later close", async () => {
    const edge = await startEdge();
    const { logged } = startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome({ heartbeat_s: 0.02, lease_s: 5 });
    connection.error("already_registered", "This connection is registered.");
    await connection.ping();
    connection.close(1012);
    await edge.connection();
    const told = logged.filter((line) => line.includes("This connection is registered."));
    expect(told).toEqual(["the edge says: This connection is registered. (already_registered)"]);
  });

  test("an error frame before a broken connection is logged too", async () => {
    const edge = await startEdge();
    const { logged } = startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome();
    connection.error("internal", "Something is wrong.");
    connection.drop();
    await edge.connection();
    expect(logged.filter((line) => line.includes("Something is wrong."))).toHaveLength(1);
  });

  test("the token never appears in the log", async () => {
    const edge = await startEdge();
    edge.refuse(401, "No.");
    const { ended, logged } = startWorker(edge, { handler });
    expect(String(await ended)).not.toContain(TOKEN);
    expect(logged.join("\n")).not.toContain(TOKEN);
  });
});

describe("options", () => {
  test.each([
    [{ url: "gopher://edge" }, "http: or https: URL"],
    [{ url: "https://host.example/dialout" }, "must have no path"],
    [{ space: "Not A Name" }, "must be 1 to 63"],
    [{ token: "two words" }, "token"],
    [{ concurrency: 0 }, "whole number from 1"],
    [{ url: "http://127.0.0.1:1/spaces/x" }, "address is http://127.0.0.1:1, without the path"],
    [{ url: "https://me:secret@edge.example" }, "must not contain a user and password"],
    [{ url: "127.0.0.1:1" }, "write http://127.0.0.1:1"],
    [{ workerId: "" }, "worker_id: must not be empty"],
    [{ name: "n".repeat(121) }, "name: must have 120 characters at most"],
    [{ capabilities: Array(51).fill("c") }, "capabilities: must have 50 entries at most"],
  ])("%j is refused before anything is dialed", (bad, words) => {
    expect(() => startWorker({ url: "http://127.0.0.1:1" }, { handler, ...bad })).toThrow(words);
  });
});

describe("back-off", () => {
  const failures = fc.nat(10_000);
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  test("a wait is never negative, and never longer than 1, 2, 4, 8, 10 seconds (W31)", () => {
    fc.assert(
      fc.property(failures, random, (count, chance) => {
        const ms = backoffMs(count, chance);
        expect(Number.isInteger(ms) && ms >= 0).toBe(true);
        expect(ms).toBeLessThan(Math.min(10_000, 1_000 * 2 ** count) + 1);
      }),
    );
  });

  test("the wait is random over the whole range, so that workers don't dial again at once (W31)", () => {
    fc.assert(
      fc.property(failures, random, random, (count, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        expect(backoffMs(count, low)).toBeLessThanOrEqual(backoffMs(count, high));
      }),
    );
    expect(backoffMs(9, 0)).toBe(0);
    expect(backoffMs(9, 0.999_999)).toBe(9_999);
  });
});

test("a worker reports its load, and reports it again after a reconnect (W33a)", async () => {
  const edge = await startEdge();
  const { worker } = startWorker(edge, { handler: async () => null });
  const first = await edge.connection();
  await first.welcome();
  // Answered once the worker is registered.
  await first.dispatch();
  await first.next("result");
  worker.reportLoad(0.5);
  expect(await first.next("load")).toEqual({ type: "load", load: 0.5 });
  expect(() => worker.reportLoad(Number.NaN)).toThrow("a number from 0 to 1");
  first.drop();
  const second = await edge.connection();
  await second.welcome();
  expect(await second.next("load")).toEqual({ type: "load", load: 0.5 });
});

describe("an edge that reads batches", () => {
  test("receives frames sent together as one message, and may send a batch itself (C6, C6a)", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler: async (job) => job.input, concurrency: 3 });
    const connection = await edge.connection();
    await connection.welcome({ batch: true });
    const before = connection.messages;
    const jobs = [1, 2, 3].map((n) => jobFrame({ job_id: `${JOB_ID}${n}`, input: { n } }));
    connection.sendText(JSON.stringify({ type: "batch", frames: jobs }));
    const results: unknown[] = [];
    while (results.length < jobs.length) {
      const frame = await connection.any();
      if (frame.type === "result") results.push(frame.output);
    }
    expect(results).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect(connection.messages - before).toBeLessThan(6);
  });

  test("receives pings as messages of their own", async () => {
    const edge = await startEdge();
    startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome({ batch: true, heartbeat_s: 0.05 });
    expect(await connection.ping()).toBe("ping");
  });

  test("receives everything that was sent before the close", async () => {
    const edge = await startEdge();
    const { worker } = startWorker(edge, { handler });
    const connection = await edge.connection();
    await connection.welcome({ batch: true });
    const job = await connection.dispatch();
    await connection.next("result");
    connection.ack(job, "result");
    void worker.drain();
    expect(await connection.next("drain")).toMatchObject({ type: "drain" });
    expect(await connection.closed).toBe(1000);
  });
});
