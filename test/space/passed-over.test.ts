import { describe, expect, it } from "vitest";
import { type ServingWorker, UnitOfWork } from "../../src/space/jobs/unit-of-work.ts";
import { JobStore, type Standing } from "../../src/storage/job-store.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { LIMITS } from "../queue/example.ts";
import { START } from "../queue/steps.ts";
import { nodeSql } from "../storage/node-sql.ts";

/** Counts the rows that are read to find the next job. */
class CountingStore extends JobStore {
  rows = 0;

  override inLine(...search: Parameters<JobStore["inLine"]>): Standing[] {
    const rows = super.inLine(...search);
    this.rows += rows.length;
    return rows;
  }
}

const WORKER = { id: "w", name: null, slots: 2, load: 0, draining: false, generation: 1 };

/** A space in which each user may have one job running, and a worker with two places. */
class BoundSpace {
  readonly store: CountingStore;
  private readonly work: UnitOfWork;

  constructor() {
    const sql = nodeSql();
    migrate(sql);
    this.store = new CountingStore(sql);
    this.work = new UnitOfWork(this.store);
  }

  submit(party: string, count = 1): string[] {
    const given = { priority: 0, input: {}, files: [], user: null, requires: [] };
    const none = { idempotency: null, cacheKey: null, webhook: null, submitter: null };
    const job = { ...given, ...none, party, limits: LIMITS, cancelOnDisconnect: false };
    return Array.from({ length: count }, () => this.work.submit(job, START).ulid);
  }

  /** Hands out jobs, stores everything, and returns whose jobs were handed out. */
  dispatch(): (string | null)[] {
    const busy = this.work.runningJobs().length;
    const worker: ServingWorker = { ...WORKER, busy, capabilities: new Set() };
    const { dispatched } = this.work.dispatch([worker], START, 1);
    this.work.save();
    this.work.takeStored();
    this.work.releaseStored();
    return dispatched.map(({ party }) => party);
  }

  complete(party: string): void {
    const job = this.work.runningJobs().find((running) => running.party === party);
    if (!job) throw new Error(`no job of ${party} runs`);
    const fence = { attempt: job.attempts, workerId: "w", generation: 1 };
    const result = { type: "result", fence, output: null, metrics: null } as const;
    this.work.apply(job.ulid, result, START);
  }
}

describe("jobs that have to let others pass", () => {
  it("are read once, however often others are handed out, and found again when it is their turn", () => {
    const space = new BoundSpace();
    space.submit("user a", 3_000);
    expect(space.dispatch()).toEqual(["user a"]);
    expect(space.dispatch()).toEqual([]);
    expect(space.store.rows).toBeGreaterThan(2_000);
    space.store.rows = 0;
    for (let n = 0; n < 50; n += 1) {
      space.submit("user b");
      expect(space.dispatch()).toEqual(["user b"]);
      space.complete("user b");
      space.submit("user c", 2);
      expect(space.dispatch()).toEqual(["user c"]);
      space.complete("user a");
      expect(space.dispatch()).toEqual(["user a"]);
      space.complete("user c");
      expect(space.dispatch()).toEqual(["user c"]);
      space.complete("user c");
    }
    expect(space.store.rows).toBeLessThan(50 * 40);
  });
});
