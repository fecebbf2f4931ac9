import { env, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { Retention } from "../../src/space/jobs/retention.ts";
import type { SpaceCore } from "../../src/space/space-core.ts";
import { rowBytesOf } from "../../src/storage/job-row.ts";
import { JobStore } from "../../src/storage/job-store.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { objectSql } from "../../src/storage/object-sql.ts";
import { type SpaceRecord, SpaceStore } from "../../src/storage/space-store.ts";
import type { Sql } from "../../src/storage/sql.ts";
import { completedJob, ulidAt } from "../storage/stored-jobs.ts";

const MIB = 1_048_576;

/** Runs `work` with a space's stores, which outlive the memory of its object. */
function withCore(work: (core: SpaceCore) => void): Promise<void> {
  const stub = env.SPACE.getByName(crypto.randomUUID());
  return runInDurableObject(stub, (_space, { storage }) => work(makeCore(objectSql(storage))));
}

function makeCore(sql: Sql) {
  migrate(sql);
  const spaces = new SpaceStore(sql);
  const times = { createdAt: 0, updatedAt: 0 };
  const members: SpaceRecord["members"] = new Map();
  const record = { name: "echo", settings: DEFAULT_SETTINGS, ...times, owner: null, members };
  spaces.write(record);
  return { record, spaces, store: new JobStore(sql) } as SpaceCore;
}

/** Finishes the n-th job, whose input has about this many bytes. */
function finish(core: SpaceCore, retention: Retention, n: number, bytes: number) {
  const job = { ...completedJob(ulidAt(n), 1), input: { text: "x".repeat(bytes) } };
  core.store.add(job);
  retention.countEnded([{ job, before: null, log: [] }]);
  return job;
}

describe("the storage that finished jobs take", () => {
  it("is still counted after the memory was lost, to a mebibyte (C11c)", () =>
    withCore((core) => {
      const later = () => new Retention(core, 2.5 * MIB);
      const job = finish(core, later(), 1, MIB);
      finish(core, later(), 2, MIB);
      expect(later().dueOf(job)).toBe(job.completedAt + DEFAULT_SETTINGS.result_ttl_s * 1_000);
      finish(core, later(), 3, MIB);
      // Three of them are too much, so the oldest is to be erased at once.
      expect(later().dueOf(job)).toBe(job.completedAt);
      expect(later().dueAt()).toBe(job.completedAt);
    }));

  it("is stored after each mebibyte, and not for each job", () =>
    withCore((core) => {
      const retention = new Retention(core, 100 * MIB);
      let total = 0;
      for (let n = 1; n <= 8; n += 1) {
        total += rowBytesOf(finish(core, retention, n, MIB / 3));
        // Three times a third of a mebibyte and a bit: every third job fills one.
        expect(core.spaces.keptBytes() === total).toBe(n % 3 === 0);
        expect(total - core.spaces.keptBytes()).toBeLessThan(MIB);
      }
    }));
});
