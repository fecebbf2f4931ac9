import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CompletedJob, isEnded, type Job, type LogEvent } from "../../src/queue/job.ts";
import { fileChanges } from "../../src/queue/output-files.ts";
import { submitted } from "../../src/queue/transition.ts";
import { rowBytesOf } from "../../src/storage/job-row.ts";
import type { JobStore } from "../../src/storage/job-store.ts";
import { applied, dispatchOver, PROGRESS } from "../queue/example.ts";
import { lives, newJobs, play, START } from "../queue/steps.ts";
import { completedJob, queuedAs, ulidAt } from "./stored-jobs.ts";
import { type WithSql, withStore } from "./with-sql.ts";

/** Stores a job's life, each step as a batch of its own; returns the last state. */
function store(jobs: JobStore, moments: ReturnType<typeof play>, first: Job): Job {
  jobs.add(first);
  let last = first;
  for (const { outcome, before, after } of moments) {
    if (outcome.kind !== "applied") continue;
    jobs.update(after, before);
    jobs.log.append(after.ulid, outcome.log);
    storeFiles(jobs, before, after);
    last = after;
  }
  return last;
}

function storeFiles(jobs: JobStore, before: Job | null, after: Job): void {
  const changes = fileChanges(before, after);
  if (changes !== null) jobs.outputFiles.apply(after, changes);
}

/** Removes a job, and what is left of its attempts' files. */
function forget(jobs: JobStore, ulid: string): void {
  jobs.remove(ulid);
  jobs.outputFiles.remove(jobs.outputFiles.released([]));
}

/** The job without what only the attachment of its worker's socket keeps (decision 0046). */
function withoutTransfer(job: Job): Job {
  if (job.status !== "processing") return job;
  const { heldUp: _, ...live } = job.live;
  return inOrder({ ...job, live });
}

/** The files of an attempt have no order but that in which they were named. */
function inOrder<J extends Job | null>(job: J): J {
  if (job?.status !== "processing" || job.live.files === undefined) return job;
  const stored = job.live.files.stored.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return { ...job, live: { ...job.live, files: { ...job.live.files, stored } } };
}

export function jobStoreContract(withSql: WithSql): void {
  const withJobs = (work: (jobs: JobStore) => void) => withStore(withSql, work);

  describe("a stored job", () => {
    it("is read exactly as it was, after any life", () =>
      withJobs((jobs) => {
        const anyLife = fc.property(newJobs, lives, (job, steps) => {
          forget(jobs, job.ulid);
          const last = store(jobs, play(job, steps), submitted(job, START));
          expect(inOrder(jobs.get(job.ulid))).toEqual(withoutTransfer(last));
          expect(jobs.statusOf(job.ulid)).toBe(last.status);
          expect(jobs.outlineOf(job.ulid)?.status).toBe(last.status);
          const { idempotency } = last;
          if (idempotency !== null) {
            const { key, fingerprint } = idempotency;
            expect(jobs.keyed(key, job.user)).toEqual({ ulid: job.ulid, fingerprint });
          }
          jobs.remove(job.ulid);
          expect(jobs.statusOf(job.ulid)).toBeNull();
          expect(jobs.outlineOf(job.ulid)).toBeNull();
        });
        fc.assert(anyLife, { numRuns: 150 });
      }));

    it("is read exactly as it was, whatever had happened before it was first stored (decision 0030)", () =>
      withJobs((jobs) => {
        const anyLife = fc.property(newJobs, lives, fc.nat(), (job, steps, pick) => {
          const applied = [...play(job, steps)].filter(({ outcome }) => outcome.kind === "applied");
          const lived = applied.slice(0, pick % (applied.length + 1));
          const last = lived.at(-1)?.after ?? submitted(job, START);
          forget(jobs, job.ulid);
          jobs.add(last);
          const events = lived.flatMap(({ outcome }) => ("log" in outcome ? outcome.log : []));
          jobs.log.append(job.ulid, events);
          storeFiles(jobs, null, last);
          expect(inOrder(jobs.get(job.ulid))).toEqual(withoutTransfer(last));
        });
        fc.assert(anyLife, { numRuns: 150 });
      }));

    it("is read with the newest state, even if only its log was written since", () =>
      withJobs((jobs) => {
        const anyLife = fc.property(newJobs, lives, (job, steps) => {
          let stored: Job = submitted(job, START);
          forget(jobs, job.ulid);
          jobs.add(stored);
          for (const { before, outcome, after } of play(job, steps)) {
            if (outcome.kind !== "applied") continue;
            if (outcome.log.length === 0 || isEnded(before)) {
              jobs.update(after, stored);
              stored = after;
            }
            jobs.log.append(after.ulid, outcome.log);
            storeFiles(jobs, before, after);
            expect(inOrder(jobs.get(job.ulid))).toEqual(withoutTransfer(after));
          }
        });
        fc.assert(anyLife, { numRuns: 50 });
      }));

    it("keeps every event of its log in order", () =>
      withJobs((jobs) => {
        const anyLife = fc.property(newJobs, lives, (job, steps) => {
          const moments = [...play(job, steps)];
          const events: LogEvent[] = [];
          for (const { outcome, after } of moments) {
            if (outcome.kind !== "applied") continue;
            jobs.log.append(after.ulid, outcome.log);
            events.push(...outcome.log);
          }
          expect(jobs.log.after(job.ulid, 0)).toEqual(events);
          jobs.log.remove(job.ulid);
        });
        fc.assert(anyLife, { numRuns: 50 });
      }));

    it("that doesn't exist is read as null", () =>
      withJobs((jobs) => {
        expect(jobs.get(ulidAt(1))).toBeNull();
      }));

    it("is replaced by its newer state, not stored twice", () =>
      withJobs((jobs) => {
        jobs.add(queuedAs(ulidAt(1)));
        jobs.update(completedJob(ulidAt(1), 5), queuedAs(ulidAt(1)));
        expect(jobs.list({ limit: 10 })).toEqual([ulidAt(1)]);
        expect(jobs.get(ulidAt(1))?.status).toBe("completed");
      }));

    it("is removed with its log, and no other job is", () =>
      withJobs((jobs) => {
        const event: LogEvent = { kind: "position", offset: 2, at: START, position: 1 };
        for (const ulid of [ulidAt(1), ulidAt(2)]) {
          jobs.add(queuedAs(ulid));
          jobs.log.append(ulid, [event]);
        }
        jobs.remove(ulidAt(1));
        expect(jobs.get(ulidAt(1))).toBeNull();
        expect(jobs.log.after(ulidAt(1), 0)).toEqual([]);
        expect(jobs.get(ulidAt(2))).toMatchObject({ offset: 2 });
        expect(jobs.log.after(ulidAt(2), 0)).toEqual([event]);
      }));
  });

  describe("a list of jobs", () => {
    it("is newest first, and its pages have every job once (H16)", () =>
      withJobs((jobs) => {
        const all = [1, 2, 3, 4, 5].map(ulidAt);
        for (const ulid of [...all].reverse()) jobs.add(queuedAs(ulid));
        const seen: string[] = [];
        for (let page = jobs.list({ limit: 2 }); page.length > 0; ) {
          seen.push(...page);
          const before = seen.at(-1) ?? "";
          page = jobs.list({ limit: 2, before });
        }
        expect(seen).toEqual([...all].reverse());
        expect(jobs.newestUlid()).toBe(all[4]);
      }));

    it("has only jobs of the requested status, on every page (H16)", () =>
      withJobs((jobs) => {
        for (const n of [1, 3, 5]) jobs.add(queuedAs(ulidAt(n)));
        for (const n of [2, 4]) jobs.add(completedJob(ulidAt(n), 5));
        const ulids = (filter: Parameters<JobStore["list"]>[0]) => jobs.list(filter);
        expect(ulids({ status: "completed", limit: 9 })).toEqual([4, 2].map(ulidAt));
        expect(ulids({ status: "queued", limit: 9, before: ulidAt(5) })).toEqual(
          [3, 1].map(ulidAt),
        );
        expect(ulids({ status: "failed", limit: 9 })).toEqual([]);
      }));

    it("is empty if there are no jobs, and then there is no newest job", () =>
      withJobs((jobs) => {
        expect([jobs.list({ limit: 9 }), jobs.newestUlid()]).toEqual([[], null]);
      }));
  });

  describe("the newest jobs", () => {
    it("are listed with their status and progress, the newest first", () =>
      withJobs((jobs) => {
        jobs.add(queuedAs(ulidAt(1)));
        jobs.add(completedJob(ulidAt(2), 5));
        const ended = { status: "completed", progress: 100, updatedAt: START + 5_000 };
        const waits = { status: "queued", progress: 0, updatedAt: START };
        expect(jobs.newest(9)).toEqual([
          { ulid: ulidAt(2), ...ended },
          { ulid: ulidAt(1), ...waits },
        ]);
        expect(jobs.newest(1)).toHaveLength(1);
      }));

    it("have no progress of an attempt that was taken back", () =>
      withJobs((jobs) => {
        const waits = queuedAs(ulidAt(1));
        const running = applied(applied(waits, dispatchOver(1)).job, PROGRESS, 1).job;
        const again = applied(running, { type: "lose", reason: "It left." }, 2).job;
        jobs.add(waits);
        jobs.update(running, waits);
        expect(jobs.newest(1)).toMatchObject([{ status: "processing", progress: 50 }]);
        jobs.update(again, running);
        expect(jobs.newest(1)).toMatchObject([{ status: "queued", progress: 0 }]);
        expect(jobs.get(ulidAt(1))).toEqual(again);
      }));
  });

  describe("an earlier job for the same submit (decision 0018)", () => {
    const done = (
      n: number,
      atS: number,
      cacheKey: string | null,
      cached = false,
    ): CompletedJob => {
      return { ...completedJob(ulidAt(n), atS), cacheKey, cached };
    };

    it("is the newest one with the cache key that a worker completed since then", () =>
      withJobs((jobs) => {
        for (const job of [done(1, 5, "a"), done(2, 9, "a"), done(3, 9, "b"), done(4, 9, null)]) {
          jobs.add(job);
        }
        jobs.add(done(5, 9, "a", true));
        jobs.add({ ...queuedAs(ulidAt(6)), cacheKey: "a" });
        expect(jobs.findCachedAnswer("a", START)?.ulid).toBe(ulidAt(2));
        expect(jobs.findCachedAnswer("b", START)?.ulid).toBe(ulidAt(3));
        expect(jobs.findCachedAnswer("a", START + 9_000)?.ulid).toBe(ulidAt(2));
        expect(jobs.findCachedAnswer("a", START + 9_001)).toBeNull();
        expect(jobs.findCachedAnswer("c", START)).toBeNull();
      }));

    it("is found by the idempotency key as well, whatever became of the job", () =>
      withJobs((jobs) => {
        const named = (key: string) => ({ idempotency: { key, fingerprint: "f" } });
        jobs.add({ ...queuedAs(ulidAt(1)), ...named("one") });
        jobs.add({ ...completedJob(ulidAt(2), 1), ...named("two") });
        jobs.add(queuedAs(ulidAt(3)));
        const found = ["one", "two", "three"].map((key) => jobs.keyed(key, null)?.ulid ?? null);
        expect(found).toEqual([ulidAt(1), ulidAt(2), null]);
      }));
  });

  describe("jobs that have ended", () => {
    it("are found with their files from their end on, and jobs that wait or run are not", () =>
      withJobs((jobs) => {
        const files = [
          { field: "mask", name: "m", content_type: "a/b", size: 1, sha256: "h", key: "k" },
        ];
        jobs.add(queuedAs(ulidAt(1)));
        jobs.add({ ...completedJob(ulidAt(3), 5), files });
        jobs.add(completedJob(ulidAt(2), 9));
        expect(jobs.endedBy(START + 4_999, 9)).toEqual([]);
        expect(jobs.endedBy(START + 5_000, 9)).toMatchObject([{ ulid: ulidAt(3), files }]);
        expect(jobs.endedBy(START + 9_000, 1)).toMatchObject([{ ulid: ulidAt(2), files: [] }]);
        expect(jobs.earliestEnd(9)).toBe(START + 5_000);
      }));

    it("take as much storage as was estimated when they were stored", () =>
      withJobs((jobs) => {
        const input = { prompt: "ä€😀" };
        const done: CompletedJob = { ...completedJob(ulidAt(1), 1), input, result: ["ü"] };
        jobs.add({ ...queuedAs(ulidAt(1)), input });
        jobs.update(done, queuedAs(ulidAt(1)));
        const [ended] = jobs.endedBy(START + 9_000, 1);
        const saved = rowBytesOf(done);
        expect(ended?.bytes).toBe(saved);
        jobs.log.append(ulidAt(1), [{ kind: "position", offset: 2, at: START, position: 1 }]);
        const logged = jobs.endedBy(START + 9_000, 1)[0]?.bytes ?? 0;
        expect(logged - saved).toBe(jobs.log.bytesOf(ulidAt(1)));
      }));

    it("are measured: how long the newest completed ones ran, oldest first", () =>
      withJobs((jobs) => {
        for (const n of [1, 2, 3, 4]) jobs.add(completedJob(ulidAt(n), n / 2));
        expect(jobs.recentRunsS(3)).toEqual([1, 1.5, 2]);
      }));
  });
}
