import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { assertUndisturbed, Bystander, compareWaits } from "../support/bystander.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

const ASKS = 1_000;
/** Requests at the same time: as many as one client makes. */
const AT_ONCE = 2;
/** The objects that hold the index of all jobs, with three files each, and some slack for the edge's own. */
const FEW_FILES = 60;

/** The files in a folder and the folders in it. */
function filesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  ).length;
}

/** The files that the edge's processes have open. Linux only. */
function openFilesOf({ program }: RunningEdge): number {
  return program.pids().reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);
}

/** Calls `ask` for 0, 1, 2 … up to `count`, some at the same time; returns how often each result came. */
async function askAll(count: number, ask: (index: number) => Promise<unknown>) {
  const results = new Map<unknown, number>();
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const result = await ask(next++);
      results.set(result, (results.get(result) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return Object.fromEntries(results);
}

/** Follows a job to its end, and returns how many pieces of output came. */
function countPieces(url: string): Promise<number> {
  const socket = new WebSocket(url.replace(/^http/, "ws"));
  let pieces = 0;
  return new Promise((resolve, reject) => {
    socket.on("error", reject).on("message", (data) => {
      const text = String(data);
      if (text.startsWith('{"type":"output"')) {
        const { from, offset } = JSON.parse(text) as { from?: number; offset: number };
        // The first ones may come joined, in the snapshot (C10c).
        pieces += from === undefined ? 1 : offset - from + 1;
      } else if (text.includes('"status":"completed"')) resolve(pieces);
    });
  });
}

let state: string;
let edge: RunningEdge;
let client: EdgeClient;
let bystander: Bystander;

beforeAll(async () => {
  state = await makeState();
  edge = await runEdge(state, await freePort());
  client = new EdgeClient(edge.url);
  bystander = await Bystander.open(edge.url, await client.makeSpace());
});

afterAll(async () => {
  bystander.close();
  await edge.program.stop();
  await removeState(state);
});

describe("asking for what doesn't exist", () => {
  const ulid = "01J0000000000000000000000A";

  it.each([
    ["jobs of a backend", (n: number) => `/api/jobs/none${n}`],
    ["their streams", (n: number) => `/api/jobs/none${n}/events`],
    ["jobs of a space", (n: number) => `/api/jobs/none${n}.${ulid}`],
    ["spaces", (n: number) => `/api/spaces/none${n}`],
  ])("leaves no file and no open file, and disturbs nobody: %s (B6c, H3a)", async (_, path) => {
    const before = { files: filesIn(state), open: openFilesOf(edge) };
    const asked = await bystander.compare(() =>
      askAll(ASKS, async (n) => {
        const response = await client.call("GET", path(n));
        await response.text();
        return response.status;
      }),
    );
    expect(asked.result).toEqual({ 404: ASKS });
    expect(filesIn(state) - before.files).toBeLessThan(FEW_FILES);
    expect(openFilesOf(edge) - before.open).toBeLessThan(FEW_FILES + 2 * AT_ONCE);
    assertUndisturbed(asked);
  });

  it("leaves no file and no open file by sockets that wait for jobs which nobody makes (B6c)", async () => {
    const before = { files: filesIn(state), open: openFilesOf(edge) };
    const asked = await bystander.compare(() =>
      askAll(ASKS / 4, async (n) => {
        const socket = await FrameSocket.open(`${edge.url}/ws/never${n}`);
        const { status } = await socket.next("progress");
        socket.close();
        return status;
      }),
    );
    expect(asked.result).toEqual({ pending: ASKS / 4 });
    expect(filesIn(state) - before.files).toBeLessThan(FEW_FILES);
    await expect.poll(() => openFilesOf(edge) - before.open).toBeLessThan(FEW_FILES + 2 * AT_ONCE);
    assertUndisturbed(asked);
  });
});

describe("a worker that sends thousands of small messages at once", () => {
  const PIECES = 8_000;

  it("holds up neither the edge nor a job in another space, and its followers get every piece", async () => {
    const space = await client.makeSpace();
    const worker = await FrameSocket.open(`${edge.url}/api/spaces/${space.name}/connect`, {
      authorization: `Bearer ${space.token}`,
    });
    worker.send({ type: "register", worker_id: "busy" });
    await worker.next("registered");
    const flood = async () => {
      const { id } = await client.submit(space.name, { prompt: "go" });
      const { job_id, attempt } = await worker.next("job");
      const followed = [0, 1].map(() => countPieces(`${edge.url}/ws/${id}`));
      for (let piece = 0; piece < PIECES; piece += 1) {
        worker.send({ type: "output", job_id, attempt, delta: "word " });
      }
      worker.send({ type: "result", job_id, attempt, output: null });
      return Promise.all(followed);
    };
    const askAround = async () => {
      await (await client.call("GET", "/healthz")).text();
      await bystander.round();
    };
    const asked = await compareWaits(askAround, flood);
    expect(asked.result).toEqual([PIECES, PIECES]);
    assertUndisturbed(asked);
    expect(edge.program.printed).not.toContain("does not answer");
  });
});
