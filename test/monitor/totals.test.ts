import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  exchanged,
  isBlank,
  isLive,
  latest,
  nothing,
  recentAfter,
  statsOf,
  statusFrame,
  unanswered,
} from "../../src/monitor/totals.ts";
import {
  RECENT_JOBS,
  type RecentJob,
  type Report,
  statsResource,
  systemStatusFrame,
} from "../../src/protocol/monitor.ts";
import { reports } from "./reports.ts";

const AT = "2026-11-21T12:00:00.000Z";
const SOURCES = ["space:a", "space:b", "job:c", "room:global", "gateway:local-0"];
/** What becomes of a source: it reports, or is forgotten. */
const events = fc.array(fc.tuple(fc.constantFrom(...SOURCES), fc.option(reports, { freq: 3 })), {
  maxLength: 40,
});

function sum<T>(all: Iterable<T>, figure: (one: T) => number): number {
  return [...all].reduce((total, one) => total + figure(one), 0);
}

describe("what all sources add up to", () => {
  it("is the sum of what each said last, whatever they said before", () => {
    fc.assert(
      fc.property(events, (told) => {
        const last = new Map<string, Report>();
        let totals = nothing();
        for (const [source, report] of told) {
          totals = exchanged(totals, last.get(source) ?? null, report);
          if (report) last.set(source, report);
          else last.delete(source);
        }
        const all = [...last.values()];
        expect(totals.jobs).toEqual({
          active: sum(all, ({ jobs }) => jobs.active),
          completed: sum(all, ({ jobs }) => jobs.completed),
          failed: sum(all, ({ jobs }) => jobs.failed),
          canceled: sum(all, ({ jobs }) => jobs.canceled),
        });
        expect(totals.jobsWithConnections).toBe(sum(all, (one) => one.jobs_with_connections));
        for (const kind of ["space", "job", "room", "gateway"] as const) {
          const ofKind = all.filter((one) => one.kind === kind);
          expect(totals.sources[kind]).toBe(ofKind.length);
          expect(totals.connections[kind]).toBe(sum(ofKind, (one) => one.connections));
        }
      }),
    );
  });

  it("is told as the schemas say, and its total is what is active and what ended", () => {
    fc.assert(
      fc.property(fc.array(reports, { maxLength: 9 }), (all) => {
        const totals = all.reduce((sofar, one) => exchanged(sofar, null, one), nothing());
        const recent = latest(
          all.flatMap((one) => one.recent.map((job) => ({ source: "space:a", job }))),
        );
        const frame = statusFrame(totals, recent, AT);
        const stats = statsOf(totals, AT);
        expect(systemStatusFrame.parse(frame)).toEqual(frame);
        expect(statsResource.parse(stats)).toEqual(stats);
        const { total, active, completed, failed, canceled } = frame.jobs;
        expect(total).toBe(active + completed + failed + canceled);
        expect([stats.jobs, stats.websockets]).toEqual([frame.jobs, frame.websockets]);
        expect(frame.websockets.total_connections).toBe(sum(all, (one) => one.connections));
      }),
    );
  });
});

describe("a source", () => {
  it("that does not answer keeps its jobs and has no sockets", () => {
    fc.assert(
      fc.property(reports, (report) => {
        const silent = unanswered(report);
        expect(silent).toEqual({ ...report, connections: 0, jobs_with_connections: 0 });
        expect(isLive(silent)).toBe(report.jobs.active > 0);
      }),
    );
  });

  it("that is idle and did nothing is not kept, unless it is a space", () => {
    const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
    const idle = { connections: 0, jobs_with_connections: 0, jobs, recent: [] };
    expect(isBlank({ ...idle, kind: "room" })).toBe(true);
    expect(isBlank({ ...idle, kind: "space" })).toBe(false);
    expect(isBlank({ ...idle, kind: "gateway", connections: 1 })).toBe(false);
    expect(isBlank({ ...idle, kind: "job", jobs: { ...jobs, failed: 1 } })).toBe(false);
  });
});

describe("the latest jobs", () => {
  const job = (at: number): RecentJob => {
    const updated_at = new Date(1_800_000_000_000 + at).toISOString();
    return { id: `j-${at}`, space: null, status: "completed", progress: 100, updated_at };
  };
  /** Times are all different, so that there is one right order. */
  const lists = fc.uniqueArray(fc.nat(1_000), { maxLength: 200 }).chain((times) =>
    fc.tuple(
      fc.constant(times),
      fc.array(fc.constantFrom(...SOURCES), {
        minLength: times.length,
        maxLength: times.length,
      }),
    ),
  );

  const change = fc.record({ gone: fc.nat(RECENT_JOBS), added: fc.nat(3) });

  it("are found without those that were pushed out, or it is said that these are needed", () => {
    let needed = 0;
    let found = 0;
    fc.assert(
      fc.property(lists, fc.constantFrom(...SOURCES), change, (drawn, who, { gone, added }) => {
        const [times, owners] = drawn;
        const all = times.map((at, index) => ({ source: owners[index] ?? "", job: job(at) }));
        const others = all.filter(({ source }) => source !== who);
        const own = latest(all.filter(({ source }) => source === who)).slice(gone);
        const newer = Array.from({ length: added }, (_, at) => job(2_000 - at));
        const now = [...newer, ...own.map((one) => one.job)].slice(0, RECENT_JOBS);
        const right = latest([...others, ...now.map((one) => ({ source: who, job: one }))]);
        const after = recentAfter(latest(all), who, now);
        if (after === null) needed += 1;
        else {
          found += 1;
          expect(after).toEqual(right);
        }
      }),
      { numRuns: 500 },
    );
    expect(Math.min(needed, found)).toBeGreaterThan(0);
  });
});
