import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LivenessCheck, SILENT_MS } from "../../src/monitor/liveness-check.ts";
import type { Report } from "../../src/protocol/monitor.ts";

const NOW = 1_000_000;
const LONG_AGO = NOW - SILENT_MS;

function reportOf(connections: number): Report {
  const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
  return { kind: "space", connections, jobs_with_connections: 0, jobs, recent: [] };
}

/** A census over sources that answer when told to; notes what came of it. */
function makeCensus(live: { source: string; heardAt: number }[], ended: string[] = []) {
  const asked: string[] = [];
  const answers = new Map<string, (report: Report | null) => void>();
  const refusals = new Map<string, (error: Error) => void>();
  const sweeps: { heardBy: number; limit: number }[] = [];
  const told: [source: string, what: number | "gone" | "no answer"][] = [];
  const census = new LivenessCheck({
    live: () => live,
    ended: (heardBy, limit) => {
      sweeps.push({ heardBy, limit });
      return ended;
    },
    ask: (source) => {
      asked.push(source);
      const { promise, resolve, reject } = Promise.withResolvers<Report | null>();
      answers.set(source, resolve);
      refusals.set(source, reject);
      return promise;
    },
    onAnswer: (source, report) => told.push([source, report?.connections ?? "gone"]),
    onNoAnswer: (source) => told.push([source, "no answer"]),
  });
  const answer = (source: string, report: Report | null) => answers.get(source)?.(report);
  const refuse = (source: string) => refusals.get(source)?.(new Error("out of order"));
  return { census, asked, sweeps, told, answer, refuse };
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("asking sources", () => {
  it("is for those that were silent for 30 seconds, and tells what they answer", async () => {
    const { census, asked, told, answer } = makeCensus([
      { source: "space:loud", heardAt: LONG_AGO + 1 },
      { source: "space:silent", heardAt: LONG_AGO },
      { source: "space:gone", heardAt: LONG_AGO - 1 },
    ]);
    const round = census.run(NOW);
    expect(asked).toEqual(["space:gone", "space:silent"]);
    answer("space:silent", reportOf(3));
    answer("space:gone", null);
    await round;
    expect(told).toEqual([
      ["space:silent", 3],
      ["space:gone", "gone"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not repeated before another 30 seconds, nor for those that reported meanwhile", async () => {
    const { census, asked, answer } = makeCensus([
      { source: "space:a", heardAt: LONG_AGO },
      { source: "space:b", heardAt: LONG_AGO },
    ]);
    census.onReport("space:b", true, NOW - 1_000);
    const round = census.run(NOW);
    answer("space:a", reportOf(1));
    await round;
    await census.run(NOW + SILENT_MS - 1_001);
    expect(asked).toEqual(["space:a"]);
    expect(census.dueAt()).toBe(NOW - 1_000 + SILENT_MS);
    void census.run(NOW + SILENT_MS);
    expect(asked).toEqual(["space:a", "space:b", "space:a"]);
  });

  it("counts one that takes too long as silent, and takes its answer all the same", async () => {
    const { census, told, answer } = makeCensus([{ source: "space:a", heardAt: LONG_AGO }]);
    const round = census.run(NOW);
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(told).toEqual([
      ["space:a", "no answer"],
      ["space:a", 1],
    ]);
  });

  it("does not believe a late answer where something newer was heard", async () => {
    const { census, told, answer } = makeCensus([{ source: "space:a", heardAt: LONG_AGO }]);
    const round = census.run(NOW);
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    census.onReport("space:a", true, NOW + 5_000);
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(0);
    expect(told).toEqual([["space:a", "no answer"]]);
  });

  it("is repeated for one that failed, in the next round", async () => {
    const { census, asked, told, answer, refuse } = makeCensus([
      { source: "space:a", heardAt: LONG_AGO },
    ]);
    const round = census.run(NOW);
    refuse("space:a");
    await round;
    const next = census.run(NOW + SILENT_MS);
    answer("space:a", reportOf(2));
    await next;
    expect(asked).toEqual(["space:a", "space:a"]);
    expect(told).toEqual([
      ["space:a", "no answer"],
      ["space:a", 2],
    ]);
  });

  it("is repeated once for one that is idle by its answer, unless it reports by itself", async () => {
    const live = [
      { source: "room:a", heardAt: LONG_AGO },
      { source: "room:b", heardAt: LONG_AGO },
    ];
    const { census, asked, answer } = makeCensus(live);
    const round = census.run(NOW);
    for (const { source } of live.splice(0)) answer(source, reportOf(0));
    await round;
    census.onReport("room:b", false, NOW + 1_000);
    expect(census.dueAt()).toBe(NOW + SILENT_MS);
    const next = census.run(NOW + SILENT_MS);
    answer("room:a", reportOf(0));
    await next;
    expect(asked).toEqual(["room:a", "room:b", "room:a"]);
    expect(census.dueAt()).toBeNull();
  });

  it("is also for jobs that ended two days ago, a hundred an hour", async () => {
    const { census, asked, sweeps, told, answer } = makeCensus([], ["job:a"]);
    const round = census.run(NOW);
    answer("job:a", null);
    await round;
    await census.run(NOW + 3_599_999);
    expect(asked).toEqual(["job:a"]);
    expect(told).toEqual([["job:a", "gone"]]);
    expect(sweeps).toEqual([{ heardBy: NOW - 172_800_000, limit: 100 }]);
    void census.run(NOW + 3_600_000);
    expect(sweeps).toHaveLength(2);
  });

  it("believes a report that comes by itself rather than the answer, which may be older", async () => {
    const { census, told, answer } = makeCensus([
      { source: "space:a", heardAt: LONG_AGO },
      { source: "space:b", heardAt: LONG_AGO },
    ]);
    const round = census.run(NOW);
    census.onReport("space:a", true, NOW + 1);
    census.onReport("space:b", false, NOW + 1);
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    expect(told).toEqual([]);
  });

  it("is done fifty at a time, five hundred in a round, and one round at a time", async () => {
    const many = Array.from({ length: 620 }, (_, index) => ({
      source: `space:${index}`,
      heardAt: LONG_AGO,
    }));
    const { census, asked, told } = makeCensus(many);
    const round = census.run(NOW);
    expect(census.run(NOW)).toBe(round);
    expect(asked).toHaveLength(50);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(asked).toHaveLength(50);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(100);
    await vi.advanceTimersByTimeAsync(50_000);
    await round;
    expect(told).toHaveLength(500);
    void census.run(NOW);
    expect(new Set(asked).size).toBe(550);
  });
});
