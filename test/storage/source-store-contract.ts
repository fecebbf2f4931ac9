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

/** A simple model: every source's last report, and how erased jobs ended. Sources that don't answer stay. */
class PlainAggregate {
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

function openAggregate(store: SourceStore): StatsAggregate {
  store.migrate();
  const aggregate = new StatsAggregate(store);
  aggregate.look();
  return aggregate;
}

export function sourceStoreContract(withSql: WithSql): void {
  describe("what sources reported", () => {
    it("adds up to the last report of each source, across restarts of the monitor", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        fc.assert(
          fc.property(steps, (taken) => {
            let aggregate = openAggregate(store);
            const plain = new PlainAggregate();
            for (const step of taken) {
              plain.take(step);
              if (step.does === "restart") aggregate = new StatsAggregate(store);
              else if (step.does === "report") aggregate.take(step.source, step.report, 1);
              else aggregate[step.does](step.source, 1);
            }
            const stats = statsOf(aggregate.totals, AT);
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
            expect(aggregate.recent.map(({ job }) => job.updated_at)).toEqual(plain.latestTimes());
            expect(aggregate.totals).toEqual(new StatsAggregate(store).totals);
            for (const table of ["sources", "past"]) sql.run(`DELETE FROM ${table}`);
            sql.run("INSERT INTO past VALUES (1, 0, 0, 0)");
          }),
          { numRuns: 150 },
        );
      }));

    it("counts as a change only if something is different", () =>
      withSql((sql) => {
        const aggregate = openAggregate(new SourceStore(sql));
        const job = { id: "j", space: null, status: "processing", updated_at: AT } as const;
        const report = (connections: number, progress: number): Report => ({
          kind: "space",
          connections,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [{ ...job, progress }],
        });
        expect(aggregate.take("space:a", report(1, 10), 1)).toBe(true);
        expect(aggregate.take("space:a", report(1, 10), 2)).toBe(false);
        expect(aggregate.take("space:a", report(1, 20), 3)).toBe(true);
        expect(aggregate.take("space:a", report(2, 20), 4)).toBe(true);
        expect(aggregate.silence("space:a", 5)).toBe(true);
        expect(aggregate.silence("space:a", 6)).toBe(false);
        expect(aggregate.forget("space:a")).toBe(true);
        expect(aggregate.forget("space:a")).toBe(false);
        expect(aggregate.take("room:a", { ...report(0, 0), kind: "room", recent: [] }, 7)).toBe(
          false,
        );
      }));

    it("is not added up again when one of many sources is forgotten", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        const aggregate = openAggregate(store);
        const done = { ...NO_JOBS, completed: 1 };
        const report: Report = {
          kind: "job",
          connections: 0,
          jobs_with_connections: 0,
          jobs: done,
          recent: [],
        };
        for (let at = 0; at < 30; at += 1) aggregate.take(`job:${at}`, report, at);
        const scans = [vi.spyOn(store, "sums"), vi.spyOn(store, "withRecent")];
        expect(aggregate.forget("job:7")).toBe(true);
        expect(aggregate.totals).toMatchObject({ jobs: { completed: 30 }, sources: { job: 29 } });
        for (const scan of scans) expect(scan).not.toHaveBeenCalled();
        expect(aggregate.totals).toEqual(new StatsAggregate(store).totals);
      }));

    it("is not added up before somebody reads the totals", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        store.migrate();
        const scans = [vi.spyOn(store, "sums"), vi.spyOn(store, "withRecent")];
        const aggregate = new StatsAggregate(store);
        const report: Report = {
          kind: "space",
          connections: 2,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [],
        };
        aggregate.take("space:a", report, 1);
        aggregate.take("space:b", report, 2);
        aggregate.forget("space:b");
        aggregate.silence("space:none", 3);
        for (const scan of scans) expect(scan).not.toHaveBeenCalled();
        expect(aggregate.totals.connections.space).toBe(2);
      }));

    it("is counted without the sockets of a source that doesn't answer, which is asked again later", () =>
      withSql((sql) => {
        const store = new SourceStore(sql);
        const aggregate = openAggregate(store);
        const report: Report = {
          kind: "room",
          connections: 4,
          jobs_with_connections: 0,
          jobs: NO_JOBS,
          recent: [],
        };
        aggregate.take("room:a", report, 1);
        expect(aggregate.silence("room:a", 2)).toBe(true);
        const later = new StatsAggregate(store);
        for (const each of [aggregate, later]) {
          expect(each.totals.connections.room).toBe(0);
          expect(each.liveSources().map(({ source }) => source)).toEqual(["room:a"]);
        }
        expect(later.take("room:a", report, 3)).toBe(true);
        expect(later.totals.connections.room).toBe(4);
        expect(new StatsAggregate(store).totals).toEqual(later.totals);
      }));

    it("is asked about for an ended job once that has not reported for long", () =>
      withSql((sql) => {
        const aggregate = openAggregate(new SourceStore(sql));
        const report = (active: number): Report => ({
          kind: "job",
          connections: 0,
          jobs_with_connections: 0,
          jobs: { ...NO_JOBS, active, completed: 1 - active },
          recent: [],
        });
        aggregate.take("job:b", report(0), 20);
        aggregate.take("job:a", report(0), 10);
        aggregate.take("job:runs", report(1), 10);
        aggregate.take("job:new", report(0), 30);
        expect(aggregate.endedSources(20, 9)).toEqual(["job:a", "job:b"]);
        expect(aggregate.endedSources(20, 1)).toEqual(["job:a"]);
        const dayLater = 86_400_010;
        aggregate.take("job:a", report(0), dayLater);
        aggregate.silence("job:b", dayLater);
        expect(aggregate.endedSources(20, 9)).toEqual([]);
      }));

    it("is asked about only for sources with open sockets or active jobs", () =>
      withSql((sql) => {
        const aggregate = openAggregate(new SourceStore(sql));
        const idle: Report = {
          kind: "space",
          connections: 0,
          jobs_with_connections: 0,
          jobs: { ...NO_JOBS, completed: 3 },
          recent: [],
        };
        aggregate.take("space:idle", idle, 1);
        aggregate.take("space:open", { ...idle, connections: 1 }, 2);
        aggregate.take("space:busy", { ...idle, jobs: { ...NO_JOBS, active: 1 } }, 3);
        aggregate.take("space:left", { ...idle, connections: 1 }, 4);
        aggregate.take("space:left", idle, 5);
        expect(aggregate.liveSources()).toEqual([
          { source: "space:busy", heardAt: 3 },
          { source: "space:open", heardAt: 2 },
        ]);
      }));
  });
}
