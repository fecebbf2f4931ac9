import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { operatorKey, secret } from "../../scripts/local.ts";
import { DialoutClient } from "../../src/client/index.ts";
import { assertUndisturbed, Bystander, MemoryWatch } from "../support/bystander.ts";
import { freePort } from "../support/port.ts";
import { OPCODE, RawSocket } from "../support/raw-socket.ts";
import { tokenOf } from "../support/tokens.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState, runEdge } from "./edge.ts";

/** Strangers have limits on an edge that is public; on one that only its own machine dials they have none. */
const PUBLIC = { PUBLIC_URL: "https://dialout.example", JOBS_PER_MINUTE: "600" };
const MB = 1_048_576;
const PIECE = "x".repeat(250_000);
const PIECES = 84;
const SOCKETS = 15;
/** Between two pieces: the attack is that nobody reads them, not how many come. */
const PIECE_MS = 150;
/** So many sockets send as fast as they can, for so long. */
const FLOODING = 5;
const FLOODING_MS = 4_000;
/** Messages of 5,000 frames, and the pause between two. */
const FLOODS = 20;
const FLOOD_MS = 100;

let state: string;
let running: RunningEdge;
let edge: EdgeClient;

beforeAll(async () => {
  state = await makeState();
  running = await runEdge(state, await freePort(), ["--no-worker"], PUBLIC);
  edge = new EdgeClient(running.url);
});

afterAll(async () => {
  await running.program.stop();
  await removeState(state);
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function openBystander(space: { name: string; token: string }): Promise<Bystander> {
  const bystander = await Bystander.open(edge.url, space, operatorKey());
  onTestFinished(() => bystander.close());
  return bystander;
}

async function openRaw(path: string): Promise<RawSocket> {
  const socket = await RawSocket.open(edge.url + path);
  onTestFinished(() => socket.drop());
  return socket;
}

/** Makes a job, and a function that streams 21 MB of output to it and completes it. */
async function makeJob() {
  const id = `job-${crypto.randomUUID()}`;
  await edge.asOperator("POST", "/api/jobs", { id });
  const stream = async () => {
    for (let n = 0; n < PIECES; n += 1) {
      await edge.asOperator("POST", `/api/jobs/${id}/output`, { delta: PIECE });
      await pause(PIECE_MS);
    }
    await edge.asOperator("POST", `/api/jobs/${id}/complete`, { result: "whole" });
  };
  return { id, stream };
}

describe("sockets that don't read", () => {
  it.each([
    ["silent", false],
    ["that still ping", true],
  ])("%s cost little memory, and disturb nobody (C18, C18c)", async (_, arePinging) => {
    const { id, stream } = await makeJob();
    for (let n = 0; n < SOCKETS; n += 1) {
      const socket = await openRaw(`/ws/${id}`);
      socket.send(OPCODE.text, "ping");
      await socket.next(OPCODE.text);
      socket.stopReading();
      if (!arePinging) continue;
      const timer = setInterval(() => socket.send(OPCODE.text, "ping"), 100);
      onTestFinished(() => clearInterval(timer));
    }
    const client = new DialoutClient({
      url: edge.url,
      WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
    });
    onTestFinished(() => client.close());
    let pieces = 0;
    const read = async () => {
      for await (const event of client.job(id).events()) if (event.type === "output") pieces += 1;
    };
    const reading = read();
    const bystander = await openBystander(await edge.makeSpace({ offline: "queue" }));
    const memory = new MemoryWatch(running.program);
    onTestFinished(() => memory.stop());
    const comparison = await bystander.compare(stream);
    assertUndisturbed(comparison);
    await reading;
    expect(pieces).toBe(PIECES);
    // Everything together would be 300 MB.
    expect(memory.growth).toBeLessThan(180 * MB);
  });
});

interface Flood {
  path: string;
  frame: object | string;
  /** Sent before the others. */
  first?: object;
  /** By how much the memory may grow, if by more than usual. */
  growth?: number;
}

/** The address of a socket, and the cheapest frame that it takes. */
const CHEAPEST: Record<string, () => Promise<Flood>> = {
  "acknowledgements of a job": async () => {
    const { name } = await edge.makeSpace({ offline: "queue" });
    const { id } = await edge.submit(name, { prompt: "x" });
    return { path: `/ws/${id}?acks=1`, frame: { type: "ack", offset: 1 } };
  },
  "acknowledgements of a job of a backend": async () => {
    const { id } = await makeJob();
    return { path: `/ws/${id}?acks=1`, frame: { type: "ack", offset: 1 } };
  },
  "pings to a job that nobody has made": async () => ({
    path: `/ws/missing-${crypto.randomUUID()}`,
    frame: { type: "ping" },
    // When the first connection is cut off, wrangler reads the map of the whole bundle, once.
    growth: 600 * MB,
  }),
  "texts to a space": async () => {
    const { name } = await edge.makeSpace({ offline: "queue" });
    return { path: `/api/spaces/${name}/ws`, frame: "pong" };
  },
  "pings to a gateway": async () => ({
    path: `/ws?token=${await tokenOf(secret("JWT_SECRET"), "mallory", {})}`,
    frame: { type: "ping" },
  }),
  "acknowledgements of a room": async () => ({
    path: `/api/rooms/global/ws?acks=1&token=${await tokenOf(secret("JWT_SECRET"), "mallory", {})}`,
    frame: { type: "ack", offset: 1 },
  }),
  "loads of a worker": async () => {
    const { name, token } = await edge.makeSpace();
    return {
      path: `/api/spaces/${name}/connect?token=${token}`,
      first: { type: "register", worker_id: "flooding" },
      frame: { type: "load", load: 0.5 },
    };
  },
};

describe("sockets that send the cheapest frames as fast as they can", () => {
  it.each(Object.entries(CHEAPEST))(
    "%s: disturb nobody and cost little memory (S20, B9b, R14a, W30e)",
    async (_, open) => {
      const { path, frame, first, growth = 200 * MB } = await open();
      const text = typeof frame === "string" ? frame : JSON.stringify(frame);
      const bystander = await openBystander(await edge.makeSpace({ offline: "queue" }));
      const memory = new MemoryWatch(running.program);
      onTestFinished(() => memory.stop());
      const flood = async () => {
        const raw = await openRaw(path);
        if (first) raw.send(OPCODE.text, JSON.stringify(first));
        await raw.flood(text, FLOODING_MS);
      };
      const attack = () => Promise.all(Array.from({ length: FLOODING }, flood));
      assertUndisturbed(await bystander.compare(attack));
      expect(memory.growth).toBeLessThan(growth);
    },
  );
});

describe("a flood of frames", () => {
  it("closes its socket, and disturbs nobody, even if it goes on after that (S20)", async () => {
    const space = await edge.makeSpace({ offline: "queue" });
    const bystander = await openBystander(space);
    const cancel = { type: "cancel", job_id: `${space.name}.${"0".repeat(26)}` };
    const frames = new Array<object>(5_000).fill(cancel);
    const batch = JSON.stringify({ type: "batch", frames });
    const flood = async () => {
      const raw = await openRaw(`/api/spaces/${space.name}/ws?batch=1`);
      for (let n = 0; n < FLOODS; n += 1) {
        raw.send(OPCODE.text, batch);
        await pause(FLOOD_MS);
      }
      const { payload } = await raw.next(OPCODE.close);
      return payload.readUInt16BE(0);
    };
    const comparison = await bystander.compare(flood);
    expect(comparison.result).toBe(4429);
    assertUndisturbed(comparison);
  });

  it("is not recorded on the disk, nor is any request", async () => {
    const kept = await readdir(join(state, "v3"));
    expect(kept).toContain("do");
    expect(kept).not.toContain("observability");
  });
});

describe("jobs of a stranger", () => {
  it("are counted one by one, however many a request has; the answer says when there is room (H21)", async () => {
    const space = await edge.makeSpace({ offline: "queue", max_queue: 10_000 });
    const path = `/api/spaces/${space.name}/jobs`;
    const jobs = Array.from({ length: 1_000 }, (_, n) => ({ input: { n } }));
    const first = await edge.call("POST", `${path}/batch`, { jobs });
    expect(first.status).toBe(202);
    const second = await edge.call("POST", `${path}/batch`, { jobs });
    expect(second.status).toBe(429);
    const seconds = Number(second.headers.get("retry-after"));
    expect(seconds).toBeGreaterThan(80);
    expect(seconds).toBeLessThanOrEqual(100);
    expect(await second.json()).toMatchObject({
      code: "rate_limited",
      detail: expect.stringContaining(`try again in ${seconds} s`),
    });
    const asOperator = { authorization: `Bearer ${operatorKey()}` };
    expect((await edge.call("POST", `${path}/batch`, { jobs }, asOperator)).status).toBe(202);
  });
});
