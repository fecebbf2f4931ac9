import { describe, expect, it } from "vitest";
import { isEnded, type Job } from "../../src/queue/job.ts";
import type { Command } from "../../src/queue/transition.ts";
import { type ServingWorker, UnitOfWork } from "../../src/space/jobs/unit-of-work.ts";
import { JobStore } from "../../src/storage/job-store.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { SpaceStore } from "../../src/storage/space-store.ts";
import type { Sql } from "../../src/storage/sql.ts";
import { WebhookStore } from "../../src/storage/webhook-store.ts";
import { FENCE, LIMITS, WORKER } from "../queue/example.ts";
import { START } from "../queue/steps.ts";
import { SCHEMA_1 } from "./schema-1.ts";
import { ulidAt } from "./stored-jobs.ts";
import type { WithSql } from "./with-sql.ts";

/** The fields that jobs of version 1 did not have, with their defaults. */
const UNKNOWN_THEN = { requires: [], idempotency: null, cacheKey: null, webhook: null };
const INPUT = { input: { prompt: "hi" }, limits: LIMITS, priority: 0, files: [], user: null };
const NOTHING_YET = { progress: 0, message: null, outputs: 0, lastFrameAt: null };
const RUNNING = { status: "processing", attempts: 1, worker: WORKER, generation: 1 };
const RAN = { worker: WORKER, generation: 1, attempts: 1, dispatchedAt: null };

/** The jobs of `SCHEMA_1`, from the first on. */
const JOBS: object[] = [
  { ...INPUT, status: "queued", submitter: "socket-1", cancelOnDisconnect: false },
  { status: "queued", priority: 5, limits: { ...LIMITS, queueTimeoutS: 30 } },
  { ...INPUT, status: "queued", submitter: "socket-2", cancelOnDisconnect: true },
  { ...INPUT, status: "queued", attempts: 1, queuedAt: START + 3_000, offset: 4 },
  {
    ...RUNNING,
    input: { prompt: "it's", seed: 7 },
    offset: 5,
    updatedAt: START + 4_000,
    live: { progress: 40, message: "painting", estimatedRemaining: 9, outputs: 2 },
  },
  { ...RUNNING, detachedAt: START + 2_000, resumedAt: null, live: NOTHING_YET },
  { ...RUNNING, cancel: { requestedAt: START + 2_000, reason: "Canceled by a call." } },
  {
    ...RAN,
    status: "completed",
    result: { ok: true },
    metrics: { steps: 3 },
    cached: false,
    files: [{ field: "image", name: "cat.png", key: "spaces/painter/inputs/x/0" }],
  },
  { ...RAN, status: "failed", error: { code: "worker_error", message: "oom: no room" } },
  { status: "canceled", reason: "Canceled by a call.", worker: null, attempts: 0 },
];

/** Opens a database that a program with schema version 1 left. */
function openVersion1(sql: Sql): JobStore {
  for (const statement of SCHEMA_1) sql.run(statement);
  migrate(sql);
  return new JobStore(sql);
}

/** The columns and keys of every table and index. Their SQL texts differ if a table was altered. */
function shapeOf(sql: Sql) {
  const tables = sql.all<{ name: string }>(
    "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
  );
  return tables.map(({ name }) => [
    name,
    sql.all(`SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)`, name),
    sql.all("SELECT name, desc, key FROM pragma_index_xinfo(?)", name),
  ]);
}

/** The worker of the stored jobs, back over its second connection, with a slot for each job. */
function theWorker(): ServingWorker {
  const slots = { slots: 20, busy: 0, load: 0, draining: false, capabilities: new Set<string>() };
  return { ...WORKER, ...slots, generation: 2 };
}

export function versionContract(withSql: WithSql): void {
  describe("a database of schema version 1", () => {
    it("has every job as it was, and gets the same schema as a new database", async () => {
      let altered: unknown;
      await withSql((sql) => {
        const store = openVersion1(sql);
        for (const [index, job] of JOBS.entries()) {
          expect(store.get(ulidAt(index + 1))).toMatchObject({ ...UNKNOWN_THEN, ...job });
        }
        expect(store.list({ limit: 99 })).toHaveLength(JOBS.length);
        expect(store.log.after(ulidAt(8), 0)).toMatchObject([{ kind: "output", delta: "pic" }]);
        altered = shapeOf(sql);
      });
      await withSql((sql) => {
        migrate(sql);
        expect(altered).toEqual(shapeOf(sql));
      });
    });

    it("can be read with every query that there is now", () =>
      withSql((sql) => {
        const store = openVersion1(sql);
        const at = (...numbers: number[]) => numbers.map(ulidAt);
        const head = store.head([], START + 4_000, 9);
        expect(head.map(({ ulid }) => ulid)).toEqual(at(2, 1, 3, 4));
        expect(store.processing().map(({ ulid }) => ulid)).toEqual(at(5, 6, 7));
        expect(store.canceledWithAnySocket()).toEqual([{ ulid: ulidAt(3), submitter: "socket-2" }]);
        expect(store.queuedOf(new Set(["socket-1"]))).toMatchObject([{ ulid: ulidAt(1) }]);
        expect(store.overdue(START + 30_000, 9)).toMatchObject([{ ulid: ulidAt(2) }]);
        expect(store.endedBy(START + 4_000, 9).map(({ ulid }) => ulid)).toEqual(at(8, 9, 10));
        expect(store.ranks.countBefore({ requires: "", priority: 0 }, ulidAt(4))).toBe(2);
        expect([store.earliestDelayed(START), store.recentRunsS(9)]).toEqual([null, []]);
        expect(store.keyed("k", null)).toBeNull();
        expect(new WebhookStore(sql).ofJob(ulidAt(8))).toEqual([]);
      }));

    it("goes on: waiting jobs are dispatched, running jobs end, and all of it is stored", () =>
      withSql((sql) => {
        const jobs = new UnitOfWork(openVersion1(sql));
        const now = START + 5_000;
        const resumed = jobs.runningJobs().map(({ ulid }) => ulid);
        expect(resumed).toEqual([5, 6, 7].map(ulidAt));
        const apply = (ulid: string, command: Command) => {
          expect(jobs.apply(ulid, command, now)).toMatchObject({ kind: "applied" });
        };
        const fence = { ...FENCE, generation: 2 };
        for (const ulid of resumed) apply(ulid, { type: "resume", fence });
        const { dispatched } = jobs.dispatch([theWorker()], now);
        expect(dispatched.map(({ ulid, attempts }) => [ulid, attempts])).toEqual([
          [ulidAt(2), 1],
          [ulidAt(1), 1],
          [ulidAt(3), 1],
          [ulidAt(4), 2],
        ]);
        for (const { ulid, attempts } of jobs.runningJobs()) {
          const attempt = { fence: { ...fence, attempt: attempts } };
          if (ulid === ulidAt(7)) {
            apply(ulid, {
              type: "fail",
              ...attempt,
              code: "canceled",
              message: "",
              retryable: false,
            });
          } else apply(ulid, { type: "result", ...attempt, output: "made", metrics: null });
        }
        sql.transaction(() => jobs.save());
        jobs.takeStored();
        const store = new JobStore(sql);
        const statuses = JOBS.map((_, index) => store.get(ulidAt(index + 1)) as Job);
        expect(statuses.filter((job) => !isEnded(job))).toEqual([]);
        expect(statuses.map(({ status }) => status)).toEqual([
          ...Array(6).fill("completed"),
          "canceled",
          "completed",
          "failed",
          "canceled",
        ]);
        expect(store.log.after(ulidAt(5), 0)).toHaveLength(3);
        for (const { ulid } of statuses) store.remove(ulid);
        expect(sql.all("SELECT channel FROM channel_log")).toEqual([]);
      }));

    it("keeps its space with its settings, gets defaults for new settings, and goes on counting", () =>
      withSql((sql) => {
        openVersion1(sql);
        const spaces = new SpaceStore(sql);
        expect(spaces.read()).toMatchObject({
          name: "painter",
          settings: { title: "Painter", offline: "queue", cache_ttl_s: 0 },
          createdAt: START,
        });
        expect(spaces.nextGeneration()).toBe(2);
        expect(spaces.webhookSecret()).toBeNull();
        expect(spaces.ends()).toEqual({ completed: 1, failed: 1, canceled: 1 });
      }));
  });
}
