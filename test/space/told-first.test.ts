import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { UnitOfWork } from "../../src/space/jobs/unit-of-work.ts";
import { JobLog } from "../../src/storage/job-log.ts";
import { SegmentLog } from "../../src/storage/segment-log.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";
import type { FakeSocket, Frame } from "../support/runtime/socket.ts";
import { SpaceHost, STORED_MS } from "./space-host.ts";

runInFakeRuntime();

/** A worker with one attempt, which keeps its pieces and sends again what the edge lacks (W26). */
class StreamingWorker {
  readonly pieces: string[] = [];
  private socket!: FakeSocket;
  private readonly space: SpaceHost;
  private readonly id: string;

  constructor(space: SpaceHost, id: string, socket: FakeSocket) {
    this.space = space;
    this.id = id;
    this.socket = socket;
  }

  async stream(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      this.pieces.push(`${this.pieces.length},`);
      this.send(this.pieces.length - 1);
    }
    await pass();
  }

  progress(progress: number): Promise<void> {
    return this.space.report(this.socket, this.id, { type: "progress", progress });
  }

  drop(): void {
    this.socket.leave(1006);
  }

  async comeBack(): Promise<void> {
    this.socket = await this.space.connect({ resume: [{ job_id: this.id, attempt: 1 }] });
    const [registered] = this.socket.takeOnly("registered");
    const [resumed] = (registered?.resumed ?? []) as { outputs: number }[];
    for (let index = resumed?.outputs ?? 0; index < this.pieces.length; index += 1)
      this.send(index);
    await pass();
  }

  complete(): Promise<void> {
    return this.space.complete(this.socket, this.id);
  }

  private send(index: number): void {
    const delta = this.pieces[index] ?? "";
    this.socket.push({ type: "output", job_id: this.id, attempt: 1, delta });
  }
}

/** A follower that pieces the output together by the rules (C7 to C11). */
class Follower {
  text = "";
  private socket: FakeSocket | null = null;
  private position: { epoch: string; offset: number } | null = null;
  private readonly space: SpaceHost;
  private readonly id: string;

  constructor(space: SpaceHost, id: string) {
    this.space = space;
    this.id = id;
  }

  /** Dials again, with the position that it has; a socket that is still open it closes. */
  async dial(): Promise<void> {
    this.read();
    this.socket?.leave(1000);
    const { position } = this;
    const since = position === null ? {} : { since: `${position.epoch}:${position.offset}` };
    this.socket = await this.space.followJob(this.id, since);
    this.read();
  }

  read(): void {
    for (const frame of this.socket?.take() ?? []) this.onFrame(frame);
  }

  private onFrame(frame: Frame): void {
    if (frame.type === "connection") {
      if (!frame.recovered) this.text = "";
      this.position = { epoch: String(frame.epoch), offset: Number(frame.offset) };
    }
    if (this.position === null || frame.type === "connection") return;
    if (frame.type === "output") this.text += frame.delta;
    this.position.offset = Math.max(this.position.offset, Number(frame.offset));
  }
}

type Act =
  | { type: "stream"; count: number }
  | { type: "pass"; ms: number }
  | { type: "kill" | "drop" | "dial" | "progress" | "sleep" };

const acts: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant("stream" as const),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("pass" as const),
      ms: fc.constantFrom(10, STORED_MS / 2, STORED_MS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constantFrom(...(["kill", "kill", "drop", "dial", "progress", "sleep"] as const)),
    }),
  },
);

/** Lives through a stream; every follower, early or late, must have what the worker sent. */
async function liveThrough(day: readonly Act[]): Promise<void> {
  const space = await SpaceHost.make();
  const socket = await space.connect();
  const id = await space.submit();
  const worker = new StreamingWorker(space, id, socket);
  const followers = [new Follower(space, id)];
  const dialAll = async () => {
    for (const follower of followers) await follower.dial();
  };
  await dialAll();
  for (const act of day) {
    switch (act.type) {
      case "stream":
        await worker.stream(act.count);
        break;
      case "progress":
        await worker.progress(50);
        break;
      case "pass":
        await pass(act.ms);
        break;
      case "sleep":
        await space.sleep();
        break;
      case "drop":
        worker.drop();
        await pass();
        await worker.comeBack();
        break;
      case "dial":
        followers.push(new Follower(space, id));
        await dialAll();
        break;
      case "kill":
        await space.host.restart();
        await worker.comeBack();
    }
    for (const follower of followers) follower.read();
  }
  await worker.complete();
  await dialAll();
  for (const follower of followers) follower.read();
  // What anybody was told of an end is stored.
  await space.host.restart();
  followers.push(new Follower(space, id));
  await followers.at(-1)?.dial();
  const text = worker.pieces.join("");
  expect(followers.map((follower) => follower.text)).toEqual(followers.map(() => text));
  expect((await space.job(id))?.output ?? "").toBe(text);
}

const property = fc.asyncProperty(fc.array(acts, { maxLength: 14, size: "max" }), liveThrough);
/** The same histories in every run. */
const RUNS = { numRuns: 80, seed: 20_261_129, endOnFailure: true };

describe("what a stream is told before it is stored", () => {
  afterEach(() => vi.restoreAllMocks());

  it("makes the whole output for every follower, whenever the edge is killed (C10d, W26)", async () => {
    await fc.assert(property, RUNS);
  }, 60_000);

  it.each<[string, () => void]>([
    [
      "the epoch stays after a loss",
      () => {
        const { apply } = UnitOfWork.prototype;
        vi.spyOn(UnitOfWork.prototype, "apply").mockImplementation(function (
          this: UnitOfWork,
          ulid,
          command,
          now,
        ) {
          return apply.call(
            this,
            ulid,
            command.type === "detach" ? { type: "detach" } : command,
            now,
          );
        });
      },
    ],
    [
      "a piece is stored twice",
      () => {
        const { live } = JobLog.prototype;
        vi.spyOn(JobLog.prototype, "live").mockImplementation(function (
          this: JobLog,
          ulid,
          attempt,
        ) {
          const reported = live.call(this, ulid, attempt);
          return { ...reported, outputs: Math.max(0, reported.outputs - 1) };
        });
      },
    ],
    [
      "an end is told and its output is not stored",
      () => {
        vi.spyOn(JobLog.prototype, "append").mockImplementation(function (
          this: JobLog,
          ulid,
          events,
        ) {
          (Reflect.get(this, "held") as Map<string, unknown>).delete(ulid);
          SegmentLog.prototype.append.call(this, ulid, events);
        });
      },
    ],
  ])(
    "is found out if %s",
    async (_, plant) => {
      plant();
      const { failed } = await fc.check(property, RUNS);
      expect(failed).toBe(true);
    },
    60_000,
  );
});

describe("what a running attempt reports", () => {
  it("costs a row a second, however many pieces it has, and is stored with the end (C10e)", async () => {
    const space = await SpaceHost.make();
    const socket = await space.connect();
    const id = await space.submit();
    const worker = new StreamingWorker(space, id, socket);
    const before = space.host.writes;
    for (let piece = 0; piece < 100; piece += 1) {
      await worker.stream(1);
      await pass(19);
    }
    expect(space.host.writes - before).toBeLessThanOrEqual(3);
    await worker.complete();
    expect(rowsOf(space)).toBeLessThanOrEqual(4);
    await space.host.restart();
    expect((await space.job(id))?.output).toBe(worker.pieces.join(""));
  });

  it("is stored without waiting when it is 64 KiB, or when the worker's socket is lost", async () => {
    const space = await SpaceHost.make();
    const socket = await space.connect();
    const id = await space.submit();
    await space.report(socket, id, { type: "output", delta: "a" });
    expect(rowsOf(space)).toBe(0);
    await space.report(socket, id, { type: "output", delta: "b".repeat(65_536) });
    expect(rowsOf(space)).toBe(1);
    await space.report(socket, id, { type: "output", delta: "c" });
    socket.leave(1006);
    await pass();
    expect(rowsOf(space)).toBe(2);
  });
});

function rowsOf(space: SpaceHost): number {
  return space.host.sql("SELECT * FROM channel_log WHERE first_offset > 0").length;
}
