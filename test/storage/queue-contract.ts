import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QueuedJob } from "../../src/queue/job.ts";
import { JobStore } from "../../src/storage/job-store.ts";
import { START } from "../queue/steps.ts";
import { completedJob, processingAs, queuedAs, ulidAt } from "./stored-jobs.ts";
import { type WithSql, withStore } from "./with-sql.ts";

const priorities = fc.array(fc.constantFrom(-100, -1, 0, 0, 1, 100), { maxLength: 12 });

/** Stores a queued job of each priority, in the order of submits. */
function queueUp(jobs: JobStore, ofPriorities: number[]): QueuedJob[] {
  const queued = ofPriorities.map((priority, n) => queuedAs(ulidAt(n), { priority }));
  for (const job of queued) jobs.add(job);
  return queued;
}

function placeOf({ ulid, priority, round, party, availableAt }: QueuedJob) {
  return { ulid, priority, round, party, availableAt };
}

function clear(jobs: JobStore): void {
  for (const ulid of jobs.list({ limit: 100 })) jobs.remove(ulid);
}

/** The order in which jobs must be dispatched, computed without SQL. */
function inLine(queued: QueuedJob[]): QueuedJob[] {
  return queued.toSorted((a, b) => b.priority - a.priority || (a.ulid < b.ulid ? -1 : 1));
}

export function queueContract(withSql: WithSql): void {
  const withJobs = (work: (jobs: JobStore) => void) => withStore(withSql, work);

  describe("the stored queue", () => {
    it("has higher priorities first, and within a priority the older jobs first", () =>
      withJobs((jobs) => {
        const anyQueue = fc.property(priorities, fc.nat(14), (ofPriorities, count) => {
          const line = inLine(queueUp(jobs, ofPriorities));
          expect(jobs.head([], START, count)).toEqual(line.slice(0, count).map(placeOf));
          clear(jobs);
        });
        fc.assert(anyQueue, { numRuns: 50 });
      }));

    it("counts its jobs by priority, and the jobs before each of them", () =>
      withStore(withSql, (jobs, sql) => {
        const anyQueue = fc.property(priorities, (ofPriorities) => {
          const queued = queueUp(jobs, ofPriorities);
          const counts = jobs.queueCounts();
          const { ranks } = new JobStore(sql);
          for (const { priority, count, requires } of counts) {
            const line = queued.filter((job) => job.priority === priority);
            expect([requires, count]).toEqual([[], line.length]);
            const ahead = line.map((job) => ranks.countBefore({ requires: "", priority }, job));
            expect(ahead).toEqual([...line.keys()]);
          }
          expect(counts).toHaveLength(new Set(ofPriorities).size);
          clear(jobs);
        });
        fc.assert(anyQueue, { numRuns: 50 });
      }));

    it("has neither running nor ended jobs", () =>
      withJobs((jobs) => {
        jobs.add(processingAs(ulidAt(1)));
        jobs.add(completedJob(ulidAt(2), 1));
        const last = queuedAs(ulidAt(3));
        jobs.add(last);
        expect(jobs.head([], START, 9)).toEqual([placeOf(last)]);
        expect(jobs.queueCounts()).toMatchObject([{ requires: [], priority: 0, count: 1 }]);
        expect(jobs.ranks.countBefore({ requires: "", priority: 0 }, last)).toBe(0);
        expect(jobs.processing().map(({ ulid }) => ulid)).toEqual([ulidAt(1)]);
      }));

    it("may be empty", () =>
      withJobs((jobs) => {
        expect(jobs.head([], START, 9)).toEqual([]);
        expect(jobs.queueCounts()).toEqual([]);
        expect(jobs.processing()).toEqual([]);
        expect(jobs.earliestQueueDue()).toBeNull();
      }));

    it("knows the waiting jobs of each connection, and the jobs to cancel when it closes", () =>
      withJobs((jobs) => {
        jobs.add(queuedAs(ulidAt(1), { submitter: "a" }));
        jobs.add(queuedAs(ulidAt(2), { submitter: "b" }));
        jobs.add(queuedAs(ulidAt(3)));
        jobs.add(processingAs(ulidAt(4), { submitter: "a", cancelOnDisconnect: true }));
        jobs.add({ ...completedJob(ulidAt(5), 1), submitter: "a", cancelOnDisconnect: true });
        const ulids = jobs.queuedOf(new Set(["a", "c"])).map(({ ulid }) => ulid);
        expect(ulids).toEqual([ulidAt(1)]);
        expect(jobs.queuedOf(new Set())).toEqual([]);
        expect(jobs.canceledWithSocketOf("a")).toEqual([ulidAt(4)]);
        expect(jobs.canceledWithSocketOf("b")).toEqual([]);
        expect(jobs.canceledWithAnySocket()).toEqual([{ ulid: ulidAt(4), submitter: "a" }]);
      }));

    it("keeps jobs with different requirements apart, and returns delayed jobs only once they are due", () =>
      withJobs((jobs) => {
        jobs.add(queuedAs(ulidAt(1), { requires: ["gpu"] }));
        jobs.add({ ...queuedAs(ulidAt(2)), availableAt: START + 1_000 });
        jobs.add(queuedAs(ulidAt(3)));
        const head = (requires: string[], at: number) =>
          jobs.head(requires, START + at, 9).map(({ ulid }) => ulid);
        expect(head(["gpu"], 0)).toEqual([ulidAt(1)]);
        expect(head([], 999)).toEqual([ulidAt(3)]);
        expect(head([], 1_000)).toEqual([2, 3].map(ulidAt));
        expect(jobs.earliestDelayed(START)).toBe(START + 1_000);
        expect(jobs.earliestDelayed(START + 1_000)).toBeNull();
      }));
  });

  describe("a stored job whose `queue_timeout_s` runs out", () => {
    const waiting = (n: number, queueTimeoutS: number | null) =>
      queuedAs(ulidAt(n), { limits: { queueTimeoutS } });

    it("gets as much more time as the edge was away (H19)", () =>
      withJobs((jobs) => {
        jobs.add(waiting(1, 10));
        jobs.extendQueueTimeouts(60_000);
        jobs.add(waiting(2, 90));
        expect(jobs.earliestQueueDue()).toBe(START + 70_000);
        expect(jobs.overdue(START + 69_999, 9)).toEqual([]);
        expect(jobs.overdue(START + 70_000, 9).map(({ ulid }) => ulid)).toEqual([ulidAt(1)]);
        expect(jobs.overdue(START + 90_000, 9).map(({ ulid }) => ulid)).toEqual([1, 2].map(ulidAt));
      }));

    it("is found from that time on, the longest overdue first", () =>
      withJobs((jobs) => {
        for (const job of [waiting(1, 30), waiting(2, 10), waiting(3, null), waiting(4, 20)]) {
          jobs.add(job);
        }
        const overdue = (s: number, count = 9) =>
          jobs.overdue(START + s * 1_000, count).map(({ ulid }) => ulid);
        expect(overdue(9.999)).toEqual([]);
        expect(overdue(20)).toEqual([2, 4].map(ulidAt));
        expect(overdue(99)).toEqual([2, 4, 1].map(ulidAt));
        expect(overdue(99, 2)).toEqual([2, 4].map(ulidAt));
        expect(jobs.earliestQueueDue()).toBe(START + 10_000);
      }));

    it("is not found while it runs, and its timeout starts again when it is queued again", () =>
      withJobs((jobs) => {
        jobs.add(waiting(1, 10));
        const running = processingAs(ulidAt(1), { limits: { queueTimeoutS: 10 } });
        jobs.update(running, waiting(1, 10));
        expect(jobs.overdue(START + 99_000, 9)).toEqual([]);
        expect(jobs.earliestQueueDue()).toBeNull();
        jobs.update({ ...waiting(1, 10), queuedAt: START + 50_000 }, running);
        expect(jobs.earliestQueueDue()).toBe(START + 60_000);
      }));
  });
}
