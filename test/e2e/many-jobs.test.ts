import { beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { DialoutClient, type JobHandle, type SpaceHandle } from "../../src/client/index.ts";
import { Network } from "../support/network.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const COUNT = 120;

let space: { name: string; token: string };
let network: Network;
let sockets: number;

class CountedWebSocket extends WebSocket {
  constructor(address: string, protocols?: string[]) {
    super(address, protocols);
    sockets += 1;
  }
}

beforeEach(async () => {
  space = await edge.makeSpace({ offline: "queue" });
  network = await Network.start(edge.url);
  sockets = 0;
  return () => network.close();
});

function openSpace(): SpaceHandle {
  const client = new DialoutClient({ url: network.url, WebSocket: CountedWebSocket });
  onTestFinished(() => client.close());
  return client.space(space.name);
}

async function submitAll(handle: SpaceHandle): Promise<JobHandle[]> {
  const inputs = Array.from({ length: COUNT }, (_, n) => ({ input: { n } }));
  const submitted = await handle.submitMany(inputs);
  return submitted.flatMap((answer) => (answer.ok ? [answer.job] : []));
}

/** What `cat` returned is the job as its worker got it. */
function numberIn(result: unknown): number {
  return JSON.parse(String(result)).input.n;
}

async function unfinished(): Promise<number> {
  const path = `/api/spaces/${space.name}`;
  const { status } = await edge.asOperator<{
    status: { queue_size: number; processing: number };
  }>("GET", path);
  return status.queue_size + status.processing;
}

const NUMBERS = Array.from({ length: COUNT }, (_, n) => n);

describe("a client that follows more jobs than one socket may", () => {
  it("takes two sockets, also for the space's status, and gets each job's own result (S12)", async () => {
    const handle = openSpace();
    const statuses = handle.statuses();
    const jobs = await submitAll(handle);
    const results = jobs.map((job) => job.result());
    await edge.startWorker(space, ["exec", "--", "cat"]);
    expect((await Promise.all(results)).map(numberIn)).toEqual(NUMBERS);
    expect((await statuses.next()).value).toMatchObject({ worker: "disconnected" });
    expect(sockets).toBe(2);
  });

  it("learns of every job that ended while its connections were broken, once (C9, C10)", async () => {
    const handle = openSpace();
    const jobs = await submitAll(handle);
    let begun = 0;
    const ends: number[] = [];
    const followed = jobs.map((job) =>
      job.follow({
        onLink: (state) => {
          if (state === "open") begun += 1;
        },
        onEnd: ({ result }) => ends.push(numberIn(result)),
      }),
    );
    await expect.poll(() => begun, { timeout: 20_000 }).toBe(COUNT);
    network.set({ dials: "reset" });
    network.reset();
    await edge.startWorker(space, ["exec", "--", "cat"]);
    await expect.poll(unfinished, { timeout: 60_000 }).toBe(0);
    expect(ends).toEqual([]);
    network.set();
    for (const { closed } of followed) expect(await closed).toBeNull();
    expect(ends.toSorted((a, b) => a - b)).toEqual(NUMBERS);
  });
});
