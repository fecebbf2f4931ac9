import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LivenessCheck, SILENT_MS } from "../../src/monitor/liveness-check.ts";
import type { Report } from "../../src/protocol/monitor.ts";

const NOW = 1_000_000;
const LONG_AGO = NOW - SILENT_MS;

function reportOf(connections: number): Report {
  const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
  return { kind: "space", connections, jobs_with_connections: 0, jobs, recent: [] };
}

/** A liveness check over sources that answer when the test lets them; records the outcomes. */
function makeCheck(live: { source: string; heardAt: number }[], ended: string[] = []) {
  const asked: string[] = [];
  const answers = new Map<string, (report: Report | null) => void>();
  const refusals = new Map<string, (error: Error) => void>();
  const sweeps: { reportedBy: number; limit: number }[] = [];
  const outcomes: [source: string, what: number | "gone" | "no answer"][] = [];
  const check = new LivenessCheck({
    live: () => live,
    ended: (reportedBy, limit) => {
      sweeps.push({ reportedBy, limit });
      return ended;
    },
    ask: (source) => {
      asked.push(source);
      const { promise, resolve, reject } = Promise.withResolvers<Report | null>();
      answers.set(source, resolve);
      refusals.set(source, reject);
      return promise;
    },
    onAnswer: (source, report) => outcomes.push([source, report?.connections ?? "gone"]),
    onNoAnswer: (source) => outcomes.push([source, "no answer"]),
  });
  const answer = (source: string, report: Report | null) => answers.get(source)?.(report);
  const refuse = (source: string) => refusals.get(source)?.(new Error("out of order"));
  return { check, asked, sweeps, outcomes, answer, refuse };
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("asking sources that stopped reporting", () => {
  it("concerns those without a report for 30 seconds, and passes on their answers (M4)", async () => {
    const { check, asked, outcomes, answer } = makeCheck([
      { source: "space:loud", heardAt: LONG_AGO + 1 },
      { source: "space:silent", heardAt: LONG_AGO },
      { source: "space:gone", heardAt: LONG_AGO - 1 },
    ]);
    const round = check.run(NOW);
    expect(asked).toEqual(["space:gone", "space:silent"]);
    answer("space:silent", reportOf(3));
    answer("space:gone", null);
    await round;
    expect(outcomes).toEqual([
      ["space:silent", 3],
      ["space:gone", "gone"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is repeated after another 30 seconds, and skips sources that reported meanwhile (M4)", async () => {
    const { check, asked, answer } = makeCheck([
      { source: "space:a", heardAt: LONG_AGO },
      { source: "space:b", heardAt: LONG_AGO },
    ]);
    check.onReport("space:b", true, NOW - 1_000);
    const round = check.run(NOW);
    answer("space:a", reportOf(1));
    await round;
    await check.run(NOW + SILENT_MS - 1_001);
    expect(asked).toEqual(["space:a"]);
    expect(check.dueAt()).toBe(NOW - 1_000 + SILENT_MS);
    void check.run(NOW + SILENT_MS);
    expect(asked).toEqual(["space:a", "space:b", "space:a"]);
  });

  it("reports no answer from a source that takes too long, and still takes its late answer", async () => {
    const { check, outcomes, answer } = makeCheck([{ source: "space:a", heardAt: LONG_AGO }]);
    const round = check.run(NOW);
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(outcomes).toEqual([
      ["space:a", "no answer"],
      ["space:a", 1],
    ]);
  });

  it("ignores a late answer if the source has reported since", async () => {
    const { check, outcomes, answer } = makeCheck([{ source: "space:a", heardAt: LONG_AGO }]);
    const round = check.run(NOW);
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    check.onReport("space:a", true, NOW + 5_000);
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(0);
    expect(outcomes).toEqual([["space:a", "no answer"]]);
  });

  it("is repeated in the next round for a source whose call failed", async () => {
    const { check, asked, outcomes, answer, refuse } = makeCheck([
      { source: "space:a", heardAt: LONG_AGO },
    ]);
    const round = check.run(NOW);
    refuse("space:a");
    await round;
    const next = check.run(NOW + SILENT_MS);
    answer("space:a", reportOf(2));
    await next;
    expect(asked).toEqual(["space:a", "space:a"]);
    expect(outcomes).toEqual([
      ["space:a", "no answer"],
      ["space:a", 2],
    ]);
  });

  it("is repeated once for a source that answered that it is idle, unless it reports by itself", async () => {
    const live = [
      { source: "room:a", heardAt: LONG_AGO },
      { source: "room:b", heardAt: LONG_AGO },
    ];
    const { check, asked, answer } = makeCheck(live);
    const round = check.run(NOW);
    for (const { source } of live.splice(0)) answer(source, reportOf(0));
    await round;
    check.onReport("room:b", false, NOW + 1_000);
    expect(check.dueAt()).toBe(NOW + SILENT_MS);
    const next = check.run(NOW + SILENT_MS);
    answer("room:a", reportOf(0));
    await next;
    expect(asked).toEqual(["room:a", "room:b", "room:a"]);
    expect(check.dueAt()).toBeNull();
  });

  it("concerns jobs that ended two days ago too, a hundred an hour", async () => {
    const { check, asked, sweeps, outcomes, answer } = makeCheck([], ["job:a"]);
    const round = check.run(NOW);
    answer("job:a", null);
    await round;
    await check.run(NOW + 3_599_999);
    expect(asked).toEqual(["job:a"]);
    expect(outcomes).toEqual([["job:a", "gone"]]);
    expect(sweeps).toEqual([{ reportedBy: NOW - 172_800_000, limit: 100 }]);
    void check.run(NOW + 3_600_000);
    expect(sweeps).toHaveLength(2);
  });

  it("prefers a report that comes by itself to the answer, which may be older", async () => {
    const { check, outcomes, answer } = makeCheck([
      { source: "space:a", heardAt: LONG_AGO },
      { source: "space:b", heardAt: LONG_AGO },
    ]);
    const round = check.run(NOW);
    check.onReport("space:a", true, NOW + 1);
    check.onReport("space:b", false, NOW + 1);
    answer("space:a", reportOf(1));
    await vi.advanceTimersByTimeAsync(5_000);
    await round;
    expect(outcomes).toEqual([]);
  });

  it("takes fifty sources at a time, five hundred in a round, and one round at a time", async () => {
    const many = Array.from({ length: 620 }, (_, index) => ({
      source: `space:${index}`,
      heardAt: LONG_AGO,
    }));
    const { check, asked, outcomes } = makeCheck(many);
    const round = check.run(NOW);
    expect(check.run(NOW)).toBe(round);
    expect(asked).toHaveLength(50);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(asked).toHaveLength(50);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(100);
    await vi.advanceTimersByTimeAsync(50_000);
    await round;
    expect(outcomes).toHaveLength(500);
    void check.run(NOW);
    expect([asked.length, new Set(asked).size]).toEqual([550, 550]);
  });
});
