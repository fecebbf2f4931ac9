import { describe, expect, test } from "vitest";
import { WorkerRefused } from "../../worker-client/index.ts";
import { PlaceWait } from "../../worker-client/place-wait.ts";
import type { EdgeConnection } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const handler = async () => null;

async function refusePlace(connection: EdgeConnection): Promise<void> {
  connection.hello();
  await connection.next("register");
  connection.error("space_occupied", "Another worker serves the space echo.");
  connection.close(4409, "Another worker serves the space echo.");
}

describe("a worker that finds every place taken", () => {
  test("dials again until there is one, if it may wait (W7c)", async () => {
    const edge = await startEdge();
    const { worker, ended, logged } = startWorker(edge, { handler, waitForPlace: true });
    for (let dial = 0; dial < 3; dial += 1) await refusePlace(await edge.connection());
    await (await edge.connection()).welcome();
    await expect.poll(() => logged.join("\n"), { timeout: 20_000 }).toContain("connected: serving");
    expect(logged.find((line) => line.includes("Waiting"))).toMatch(
      /^Another worker serves the space echo\. Waiting until there is a place for this one; dialing again in 0\.0 s$/,
    );
    worker.stop();
    expect(await ended).toBeNull();
  });

  test("says so again if it has none after it had one", async () => {
    const edge = await startEdge();
    const { logged } = startWorker(edge, { handler, waitForPlace: true });
    const waits = () => logged.filter((line) => line.includes("Waiting until there is a place"));
    await refusePlace(await edge.connection());
    const served = await edge.connection();
    await served.welcome();
    // Its job is accepted, so it is registered.
    await served.dispatch();
    expect(waits()).toHaveLength(1);
    served.drop();
    await refusePlace(await edge.connection());
    await (await edge.connection()).welcome();
    expect(waits()).toHaveLength(2);
  });

  test("waits also if the upgrade is refused with 409", async () => {
    const edge = await startEdge();
    edge.refuse(409, "Another worker serves it.");
    startWorker(edge, { handler, waitForPlace: true });
    await (await edge.connection()).welcome();
    expect(edge.dials).toBe(2);
  });

  test("ends if it may not wait", async () => {
    const edge = await startEdge();
    const { ended } = startWorker(edge, { handler });
    await refusePlace(await edge.connection());
    expect(await ended).toBeInstanceOf(WorkerRefused);
    expect(edge.dials).toBe(1);
  });

  test("can be stopped while it waits", async () => {
    const edge = await startEdge();
    const { worker, ended } = startWorker(edge, {
      handler,
      waitForPlace: true,
      backoff: { firstMs: 3_600_000, capMs: 3_600_000 },
      random: () => 0.99,
    });
    const connection = await edge.connection();
    await refusePlace(connection);
    await connection.closed;
    await worker.drain();
    expect(await ended).toBeNull();
  });
});

test("a worker that was replaced ends, even if it may wait for a place (W7c)", async () => {
  const edge = await startEdge();
  const { ended } = startWorker(edge, { handler, waitForPlace: true });
  const connection = await edge.connection();
  await connection.welcome();
  connection.error("replaced", "Another connection of this worker took its place.");
  connection.close(4409);
  expect(await ended).toMatchObject({ code: "replaced" });
  expect(edge.dials).toBe(1);
});

test("a worker that waits says every minute for how long, and more only with --verbose", () => {
  const lines: string[] = [];
  const note = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  const log = {
    debug: note("debug"),
    info: note("info"),
    warn: note("warn"),
    error: note("error"),
  };
  const wait = new PlaceWait(log);
  const find = { why: "Taken.", ms: 2_000 };
  for (const now of [0, 30_000, 59_000, 61_000, 70_000, 125_000]) wait.report(find, now);
  wait.end();
  wait.report(find, 130_000);
  const said = lines.filter((line) => line.startsWith("warn"));
  expect(said).toEqual([
    "warn: Taken. Waiting until there is a place for this one; dialing again in 2.0 s",
    "warn: Taken. Waiting for a place, for 61 s so far; dialing again in 2.0 s",
    "warn: Taken. Waiting for a place, for 125 s so far; dialing again in 2.0 s",
    "warn: Taken. Waiting until there is a place for this one; dialing again in 2.0 s",
  ]);
  expect(lines).toHaveLength(7);
});
