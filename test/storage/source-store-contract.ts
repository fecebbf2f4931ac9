import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { StatsAggregate } from "../../src/monitor/stats-aggregate.ts";
import { isBlank, statsOf, unanswered } from "../../src/monitor/totals.ts";
import { RECENT_JOBS, type Report, SOURCE_KINDS } from "../../src/protocol/monitor.ts";
import { SourceStore } from "../../src/storage/source-store.ts";
import { reports } from "../monitor/reports.ts";
import type { WithSql } from "./with-sql.ts";

const AT = "2026-11-21T12:00:00.000Z";
const NO_JOBS = { active: 0, completed: 0, failed: 0, canceled: 0 };

type Step =
  | { does: "report"; source: string; report: Report }
  | { does: "forget" | "silence"; source: string }
  | { does: "restart" };

const sources = fc.constantFrom(...SOURCE_KINDS.flatMap((kind) => [`${kind}:a`, `${kind}:b`]));
const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.tuple(sources, reports, fc.boolean()).map(([source, report, isIdle]): Step => {
        const kind = source.slice(0, -2) as Report["kind"];
        const idle = { connections: 0, jobs: NO_JOBS, recent: [] };
        return { does: "report", source, report: { ...report, kind, ...(isIdle ? idle : {}) } };
      }),
    },
    { weight: 1, arbitrary: sources.map((source): Step => ({ does: "forget", source })) },
    { weight: 1, arbitrary: sources.map((source): Step => ({ does: "silence", source })) },
    { weight: 1, arbitrary: fc.constant<Step>({ does: "restart" }) },
  ),
  { maxLength: 40 },
);

/** The same in a few plain lines: every source's last word, and what erased jobs did. Who is silent stays. */
class PlainTally {
  readonly last = new Map<string, Report>();
  readonly past = { completed: 0, failed: 0, canceled: 0 };

  take(step: Step): void {
    if (step.does === "restart") return;
    const { source } = step;
    const before = this.last.get(source);
    if (step.does === "report") this.last.set(source, step.report);
    else if (step.does === "silence" && before) this.last.set(source, unanswered(before));
    else if (step.does === "forget" && before) {
      this.last.delete(source);
      if (before.kind === "job") this.addPast(before);
    }
    if (step.does === "report" && isBlank(step.report)) this.last.delete(source);
  }

  sum(figure: (report: Report) => number): number {
    return [...this.last.values()].reduce((total, report) => total + figure(report), 0);
  }

  latestTimes(): string[] {
    const all = [...this.last.values()].flatMap(({ recent }) => recent);
    all.sort((a, b) => b.updated_at.localeCompare(a.updated_at));
    return all.slice(0, RECENT_JOBS).map(({ updated_at }) => updated_at);
  }

  private addPast({ jobs }: Report): void {
    this.past.completed += jobs.completed;
    this.past.failed += jobs.failed;
    this.past.canceled += jobs.canceled;
  }
}

function opened(store: SourceStore): StatsAggregate {
  store.migrate();
  const tally = new StatsAggregate(store);
  tally.look();
  return tally;
}

export function sourceStoreContract(withSql: WithSql): void {
  describe("what sources reported", () => {
    it("adds up to what each said last, over restarts of who adds it up", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        fc.assert(
          fc.property(steps, (taken) => {
            let tally = opened(store);
            const plain = new PlainTally();
            for (const step of taken) {
              plain.take(step);
              if (step.does === "restart") tally = new StatsAggregate(store);
              else if (step.does === "report") tally.take(step.source, step.report, 1);
              else tally[step.does](step.source, 1);
            }
            const stats = statsOf(tally.totals, AT);
            expect(stats.jobs).toMatchObject({
              active: plain.sum(({ jobs }) => jobs.active),
              completed: plain.sum(({ jobs }) => jobs.completed) + plain.past.completed,
              failed: plain.sum(({ jobs }) => jobs.failed) + plain.past.failed,
              canceled: plain.sum(({ jobs }) => jobs.canceled) + plain.past.canceled,
            });
            expect(stats.websockets).toEqual({
              total_connections: plain.sum(({ connections }) => connections),
              jobs_with_connections: plain.sum((report) => report.jobs_with_connections),
            });
            expect(Object.values(stats.sources).reduce((a, b) => a + b)).toBe(plain.last.size);
            expect(tally.recent.map(({ job }) => job.updated_at)).toEqual(plain.latestTimes());
            expect(tally.totals).toEqual(new StatsAggregate(store).totals);
            for (const table of ["sources", "past"]) sql.run(`DELETE FROM ${table}`);
            sql.run("INSERT INTO past VALUES (1, 0, 0, 0)");
          }),
          { numRuns: 150 },
        );
      }));

    it("is told anew only where something is different", () =>
      withSql((sql) => {
        const tally = opened(new SourceStore(sql));
        const job = { id: "j", space: null, status: "processing", updated_at: AT } as const;
        const report = (connections: number, progress: number): Report => ({
          kind: "space",
          connections,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [{ ...job, progress }],
        });
        expect(tally.take("space:a", report(1, 10), 1)).toBe(true);
        expect(tally.take("space:a", report(1, 10), 2)).toBe(false);
        expect(tally.take("space:a", report(1, 20), 3)).toBe(true);
        expect(tally.take("space:a", report(2, 20), 4)).toBe(true);
        expect(tally.silence("space:a", 5)).toBe(true);
        expect(tally.silence("space:a", 6)).toBe(false);
        expect(tally.forget("space:a")).toBe(true);
        expect(tally.forget("space:a")).toBe(false);
        expect(tally.take("room:a", { ...report(0, 0), kind: "room", recent: [] }, 7)).toBe(false);
      }));

    it("is not added up anew when one of many is forgotten", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        const tally = opened(store);
        const done = { ...NO_JOBS, completed: 1 };
        const report: Report = {
          kind: "job",
          connections: 0,
          jobs_with_connections: 0,
          jobs: done,
          recent: [],
        };
        for (let at = 0; at < 30; at += 1) tally.take(`job:${at}`, report, at);
        const scans = [vi.spyOn(store, "sums"), vi.spyOn(store, "withRecent")];
        expect(tally.forget("job:7")).toBe(true);
        expect(tally.totals).toMatchObject({ jobs: { completed: 30 }, sources: { job: 29 } });
        for (const scan of scans) expect(scan).not.toHaveBeenCalled();
        expect(tally.totals).toEqual(new StatsAggregate(store).totals);
      }));

    it("is not added up before somebody looks", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        store.migrate();
        const scans = [vi.spyOn(store, "sums"), vi.spyOn(store, "withRecent")];
        const tally = new StatsAggregate(store);
        const report: Report = {
          kind: "space",
          connections: 2,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [],
        };
        tally.take("space:a", report, 1);
        tally.take("space:b", report, 2);
        tally.forget("space:b");
        tally.silence("space:none", 3);
        for (const scan of scans) expect(scan).not.toHaveBeenCalled();
        expect(tally.totals.connections.space).toBe(2);
      }));

    it("is counted without the sockets of who does not answer, who is still to be asked", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        const tally = opened(store);
        const report: Report = {
          kind: "room",
          connections: 4,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [],
        };
        tally.take("room:a", report, 1);
        expect(tally.silence("room:a", 2)).toBe(true);
        const later = new StatsAggregate(store);
        for (const one of [tally, later]) {
          expect(one.totals.connections.room).toBe(0);
          expect(one.liveSources().map(({ source }) => source)).toEqual(["room:a"]);
        }
        expect(later.take("room:a", report, 3)).toBe(true);
        expect(later.totals.connections.room).toBe(4);
        expect(new StatsAggregate(store).totals).toEqual(later.totals);
      }));

    it("is asked about, where a job has ended, once nothing was heard for long", () =>
      withSql((sql) => {
        const tally = opened(new SourceStore(sql));
        const report = (active: number): Report => ({
          kind: "job",
          connections: 0,
          jobs_with_connections: 0,
          jobs: { ...NO_JOBS, active, completed: 1 - active },
          recent: [],
        });
        tally.take("job:b", report(0), 20);
        tally.take("job:a", report(0), 10);
        tally.take("job:runs", report(1), 10);
        tally.take("job:new", report(0), 30);
        expect(tally.endedSources(20, 9)).toEqual(["job:a", "job:b"]);
        expect(tally.endedSources(20, 1)).toEqual(["job:a"]);
        const dayLater = 86_400_010;
        tally.take("job:a", report(0), dayLater);
        tally.silence("job:b", dayLater);
        expect(tally.endedSources(20, 9)).toEqual([]);
      }));

    it("is asked about only where sockets are open or jobs are active", () =>
      withSql((sql) => {
        const tally = opened(new SourceStore(sql));
        const idle: Report = {
          kind: "space",
          connections: 0,
          jobs_with_connections: 0,
          jobs: { ...NO_JOBS, completed: 3 },
          recent: [],
        };
        tally.take("space:idle", idle, 1);
        tally.take("space:open", { ...idle, connections: 1 }, 2);
        tally.take("space:busy", { ...idle, jobs: { ...NO_JOBS, active: 1 } }, 3);
        tally.take("space:left", { ...idle, connections: 1 }, 4);
        tally.take("space:left", idle, 5);
        expect(tally.liveSources()).toEqual([
          { source: "space:busy", heardAt: 3 },
          { source: "space:open", heardAt: 2 },
        ]);
      }));
  });
}
