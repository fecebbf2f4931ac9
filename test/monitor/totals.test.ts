import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  isBlank,
  isLive,
  latestJobs,
  noTotals,
  recentAfter,
  statsOf,
  statusFrame,
  unanswered,
  withReport,
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
/** Changes of sources: each reports, or is forgotten. */
const events = fc.array(fc.tuple(fc.constantFrom(...SOURCES), fc.option(reports, { freq: 3 })), {
  maxLength: 40,
});

function sum<T>(all: Iterable<T>, select: (item: T) => number): number {
  return [...all].reduce((total, item) => total + select(item), 0);
}

describe("the totals of all sources", () => {
  it("are the sum of the latest reports, whatever was reported before (M4)", () => {
    fc.assert(
      fc.property(events, (changes) => {
        const last = new Map<string, Report>();
        let totals = noTotals();
        for (const [source, report] of changes) {
          totals = withReport(totals, last.get(source) ?? null, report);
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
        expect(totals.jobsWithConnections).toBe(sum(all, (report) => report.jobs_with_connections));
        for (const kind of ["space", "job", "room", "gateway"] as const) {
          const ofKind = all.filter((report) => report.kind === kind);
          expect(totals.sources[kind]).toBe(ofKind.length);
          expect(totals.connections[kind]).toBe(sum(ofKind, (report) => report.connections));
        }
      }),
    );
  });

  it("match their schemas, and the total of jobs is the active and the ended ones (M2, M3)", () => {
    fc.assert(
      fc.property(fc.array(reports, { maxLength: 9 }), (all) => {
        const totals = all.reduce((sofar, report) => withReport(sofar, null, report), noTotals());
        const recent = latestJobs(
          all.flatMap((report) => report.recent.map((job) => ({ source: "space:a", job }))),
        );
        const frame = statusFrame(totals, recent, AT);
        const stats = statsOf(totals, AT);
        expect(systemStatusFrame.parse(frame)).toEqual(frame);
        expect(statsResource.parse(stats)).toEqual(stats);
        const { total, active, completed, failed, canceled } = frame.jobs;
        expect(total).toBe(active + completed + failed + canceled);
        expect([stats.jobs, stats.websockets]).toEqual([frame.jobs, frame.websockets]);
        expect(frame.websockets.total_connections).toBe(sum(all, (report) => report.connections));
      }),
    );
  });
});

describe("a source", () => {
  it("that does not answer keeps its jobs and has no sockets (M4)", () => {
    fc.assert(
      fc.property(reports, (report) => {
        const silent = unanswered(report);
        expect(silent).toEqual({ ...report, connections: 0, jobs_with_connections: 0 });
        expect(isLive(silent)).toBe(report.jobs.active > 0);
      }),
    );
  });

  it("that is idle and never had a job is not stored, unless it is a space", () => {
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
  /** All times are different, so that only one order is right. */
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

  it("are found without reading all jobs, or `null` says that all must be read", () => {
    let needed = 0;
    let found = 0;
    fc.assert(
      fc.property(lists, fc.constantFrom(...SOURCES), change, (drawn, who, { gone, added }) => {
        const [times, owners] = drawn;
        const all = times.map((at, index) => ({ source: owners[index] ?? "", job: job(at) }));
        const others = all.filter(({ source }) => source !== who);
        const own = latestJobs(all.filter(({ source }) => source === who)).slice(gone);
        const newer = Array.from({ length: added }, (_, at) => job(2_000 - at));
        const now = [...newer, ...own.map((entry) => entry.job)].slice(0, RECENT_JOBS);
        const right = latestJobs([
          ...others,
          ...now.map((recentJob) => ({ source: who, job: recentJob })),
        ]);
        const after = recentAfter(latestJobs(all), who, now);
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
