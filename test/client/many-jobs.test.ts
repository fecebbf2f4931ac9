import { describe, expect, onTestFinished, test, vi } from "vitest";
import { MOST_UNREAD } from "../../src/client/index.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  AT,
  type FakeSubscriberEdge,
  type FakeSubscriberSocket,
  type Frame,
  problem,
} from "../support/fake-subscriber-edge.ts";
import { idOf } from "./followed-jobs-model.ts";
import { completed, connection, jobResource, output, progress } from "./jobs.ts";
import { JOB_ID, startClient } from "./start.ts";

const SPACE_PATH = "/api/spaces/demo/ws";
const HELLO: Frame = {
  type: "connection",
  space: "demo",
  epoch: "s",
  offset: 0,
  recovered: false,
  timestamp: AT,
};

function of(job: number, ...frames: Frame[]): Frame[] {
  return frames.map((frame) => ({ ...frame, job_id: idOf(job) }));
}

/** Reads `follow` frames, alone or in batches, until there are so many. */
async function followsOn(socket: FakeSubscriberSocket, count: number): Promise<Frame[]> {
  const found: Frame[] = [];
  while (found.length < count) {
    const frame = await socket.any();
    found.push(...(frame.type === "batch" ? (frame.frames as Frame[]) : [frame]));
  }
  expect(found.map(({ type }) => type)).toEqual(Array(count).fill("follow"));
  return found;
}

async function openedSocket(edge: FakeSubscriberEdge): Promise<FakeSubscriberSocket> {
  const socket = await edge.socket();
  expect(socket.path).toBe(SPACE_PATH);
  socket.send(HELLO);
  return socket;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

describe("following several jobs of a space", () => {
  test("takes one socket, also for the space's status, and each job gets its own events (S7)", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    const workers: string[] = [];
    space.watch({ onStatus: ({ worker }) => workers.push(worker) });
    const results = range(10).map((job) => space.job(idOf(job)).result());
    const socket = await openedSocket(edge);
    const follows = await followsOn(socket, 10);
    expect(follows.map(({ job_id }) => job_id)).toEqual(range(10).map(idOf));
    const counts = { queue_size: 0, processing: 0, estimated_wait_s: null };
    const status = { type: "space.status", space: "demo", worker: "connected", ...counts };
    socket.send({ ...status, offset: 1, timestamp: AT });
    for (const job of range(10)) socket.send(...of(job, connection(0), progress(0)));
    for (const job of range(10).reverse()) socket.send(...of(job, completed(1, job)));
    expect(await Promise.all(results)).toEqual(range(10));
    await expect.poll(() => workers).toEqual(["connected"]);
    expect(edge.unasked).toBe(0);
  });

  test("goes on from each one's position after a break, also with those that ended meanwhile (C8)", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    const texts: unknown[][] = [[], [], []];
    const links: string[] = [];
    const followed = range(3).map((job) =>
      space.job(idOf(job)).follow({
        onOutput: ({ delta }) => texts[job]?.push(delta),
        onLink: (state) => job === 0 && links.push(state),
      }),
    );
    const first = await openedSocket(edge);
    await followsOn(first, 3);
    for (const job of [0, 1]) first.send(...of(job, connection(0), progress(0), output(1, "a")));
    first.send(...of(2, connection(3), output(1, "half a snapshot")));
    await expect.poll(() => texts).toEqual([["a"], ["a"], []]);
    first.drop();
    const second = await openedSocket(edge);
    const follows = await followsOn(second, 3);
    expect(follows.map(({ since }) => since)).toEqual(["e:1", "e:1", undefined]);
    second.send(...of(0, connection(1, true), output(1, "a"), output(2, "b"), completed(3, 0)));
    const error = { type: "error", code: "job_not_found", message: "Gone.", error: "Gone." };
    second.send({ ...error, job_id: idOf(1), ref: Number(follows[1]?.ref) });
    second.send(...of(2, connection(3), output(1, "x"), progress(3), completed(4, 2)));
    expect(await Promise.all(followed.map(({ closed }) => closed))).toEqual([
      null,
      expect.objectContaining({ code: "job_not_found", status: 404 }),
      null,
    ]);
    expect(texts).toEqual([["a", "b"], ["a"], ["x"]]);
    expect(links).toEqual(["open", "lost", "open", "closed"]);
    await second.closed;
  });

  test("shows that it reads, and sends no follow twice (C18a)", async () => {
    const { edge, client } = await startClient();
    const job = client.space("demo").job(JOB_ID);
    const both = [job.result(), job.result()];
    const socket = await openedSocket(edge);
    await followsOn(socket, 1);
    socket.send(connection(0), progress(0), { type: "read_check", token: "t" });
    expect(await socket.next("read_check")).toEqual({ type: "read_check", token: "t" });
    socket.send(completed(1, "done"));
    expect(await Promise.all(both)).toEqual(["done", "done"]);
  });

  test("unfollows a job that nobody follows any more, and closes the socket after the last", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    const first = space.job(idOf(0)).follow({});
    const second = space.job(idOf(1)).follow({});
    const socket = await openedSocket(edge);
    await followsOn(socket, 2);
    first.close();
    expect(await socket.next("unfollow")).toEqual({ type: "unfollow", job_id: idOf(0) });
    second.close();
    expect(await socket.closed).toBe(1000);
    void space.job(idOf(0)).follow({});
    expect((await edge.socket()).path).toBe(SPACE_PATH);
  });

  test("a handle by id alone uses the space's socket if that is in use, and goes on from a given position over its own", async () => {
    const { edge, client } = await startClient();
    client.space("demo").watch({});
    const socket = await openedSocket(edge);
    const result = client.job(idOf(0)).result();
    await followsOn(socket, 1);
    socket.send(...of(0, connection(0), completed(1, "shared")));
    expect(await result).toBe("shared");
    client.space("demo").job(idOf(1)).follow({ since: "e:4" });
    const own = await edge.socket();
    expect([own.path, own.query.get("since")]).toEqual([`/api/jobs/${idOf(1)}/ws`, "e:4"]);
  });

  test("what several submits return is followed over it, too (H13)", async () => {
    const { edge, client } = await startClient();
    const jobs = range(3).map((job) => ({ job: jobResource({ id: idOf(job) }) }));
    edge.answer = () => ({ status: 202, body: { jobs } });
    const submitted = await client
      .space("demo")
      .submitMany(range(3).map((n) => ({ input: { n } })));
    const results = submitted.map((answer) => (answer.ok ? answer.job.result() : null));
    const socket = await openedSocket(edge);
    await followsOn(socket, 3);
    for (const job of range(3)) socket.send(...of(job, connection(0), completed(1, job)));
    expect(await Promise.all(results)).toEqual([0, 1, 2]);
    expect(edge.unasked).toBe(0);
  });
});

describe("more jobs than one socket may follow", () => {
  test("get another socket of the space (S12)", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    const results = range(LIMITS.followsPerSocket + 1).map((job) => space.job(idOf(job)).result());
    const first = await openedSocket(edge);
    const second = await openedSocket(edge);
    await followsOn(first, LIMITS.followsPerSocket);
    expect(await followsOn(second, 1)).toMatchObject([{ job_id: idOf(100) }]);
    second.send(...of(100, connection(0), completed(1, "last")));
    expect(await results[100]).toBe("last");
    await second.closed;
    for (const job of range(100)) first.send(...of(job, connection(0), completed(1, job)));
    expect(await Promise.all(results.slice(0, 100))).toEqual(range(100));
  });

  test("go elsewhere if the edge refuses them all the same, in the end each to its own (S12)", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    space.watch({});
    const result = space.job(idOf(0)).result();
    for (const round of [1, 2]) {
      const socket = await openedSocket(edge);
      const [follow] = await followsOn(socket, 1);
      const error = { type: "error", code: "too_many_follows", message: "Full.", error: "Full." };
      socket.send({ ...error, job_id: idOf(0), ref: follow?.ref });
      if (round === 2) await socket.closed;
    }
    const own = await edge.socket();
    expect(own.path).toBe(`/api/jobs/${idOf(0)}/ws`);
    own.send(...of(0, connection(0), completed(1, "alone")));
    expect(await result).toBe("alone");
  });
});

test("a client that follows ever new jobs takes another socket before the edge would close the first (S20)", async () => {
  // Time stands still, so that none of what may be sent comes back.
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const { edge, client } = await startClient();
  const space = client.space("demo");
  space.watch({});
  const first = await openedSocket(edge);
  space.job(idOf(0)).follow({});
  await followsOn(first, 1);
  const pairs = LIMITS.frameBurst / 4;
  for (let job = 1; job <= pairs; job += 1) space.job(idOf(job)).follow({}).close();
  space.job(idOf(pairs + 1)).follow({});
  const second = await openedSocket(edge);
  expect(await followsOn(second, 1)).toMatchObject([{ job_id: idOf(pairs + 1) }]);
  for (let frame = 1; frame <= pairs * 2; frame += 1) await first.any();
  await first.read();
  expect(first.unread).toBe(0);
});

describe("a socket of a space that is refused", () => {
  test("for lack of rights leaves each job to a socket of its own, from where it was (S14)", async () => {
    const { edge, client } = await startClient();
    const space = client.space("demo");
    const watching = space.watch({});
    const texts: unknown[] = [];
    const following = space.job(idOf(0)).follow({ onOutput: ({ delta }) => texts.push(delta) });
    const socket = await openedSocket(edge);
    await followsOn(socket, 1);
    socket.send(...of(0, connection(0), progress(0), output(1, "a")));
    await expect.poll(() => texts).toEqual(["a"]);
    socket.close(4401);
    expect(await watching.closed).toMatchObject({ code: "not_authenticated" });
    const own = await edge.socket();
    expect([own.path, own.query.get("since")]).toEqual([`/api/jobs/${idOf(0)}/ws`, "e:1"]);
    own.send(...of(0, connection(1, true), output(2, "b"), completed(3, null)));
    expect(await following.closed).toBeNull();
    expect(texts).toEqual(["a", "b"]);
  });

  test("because there is no such space ends its jobs with that, without asking for each (S14)", async () => {
    const { edge, client } = await startClient();
    edge.answer = () => problem(404, "space_not_found", "There is no such space.");
    edge.refuse(404);
    const space = client.space("demo");
    const followed = range(5).map((job) => space.job(idOf(job)).follow({}).closed);
    for (const error of await Promise.all(followed))
      expect(error).toMatchObject({ code: "space_not_found", status: 404 });
    expect(edge.requests.map(({ path }) => path)).toEqual(["/api/spaces/demo"]);
    expect(edge.unasked).toBe(0);
  });
});

test("a job that is not read fails alone after 10,000 events, and holds up no other on its socket", async () => {
  const { edge, client } = await startClient();
  const space = client.space("demo");
  const unread = space.job(idOf(0)).events();
  const texts: unknown[] = [];
  const other = space.job(idOf(1)).follow({ onOutput: ({ delta }) => texts.push(delta) });
  const socket = await openedSocket(edge);
  await followsOn(socket, 2);
  for (const job of [0, 1]) socket.send(...of(job, connection(0), progress(0)));
  for (let offset = 1; offset <= MOST_UNREAD; offset += 1) {
    socket.send(...of(0, output(offset, "x")));
    if (offset % 1_000 === 0) socket.send(...of(1, output(offset / 1_000, offset)));
  }
  expect(await socket.next("unfollow")).toEqual({ type: "unfollow", job_id: idOf(0) });
  expect(texts).toHaveLength(10);
  socket.send(...of(1, completed(11, null)));
  expect(await other.closed).toBeNull();
  const reading = (async () => {
    let read = 0;
    for await (const _ of unread) read += 1;
    return read;
  })();
  await expect(reading).rejects.toMatchObject({ code: "too_slow" });
});
