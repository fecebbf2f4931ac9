import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendJob, BackendJobEvent } from "../../src/backend-job-model/backend-job.ts";
import { reported } from "../../src/backend-job-model/report.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { BackendJobStore } from "../../src/storage/backend-job-store.ts";
import { isMigrated, NewerSchema } from "../../src/storage/schema.ts";
import type { Sql } from "../../src/storage/sql.ts";
import { histories, IDENTITY, newJob, play, reportOf, START } from "../backend-job/example.ts";
import type { WithSql } from "./with-sql.ts";

const { id: ID } = IDENTITY;

/** An empty store, and its database. */
function openStore(sql: Sql): BackendJobStore {
  const store = new BackendJobStore(sql);
  store.migrate();
  return store;
}

/** A job with this many pieces of output of 300 kB each; the log keeps three of them. */
function jobWithOutput(pieces: number): { job: BackendJob; events: BackendJobEvent[] } {
  const delta = "x".repeat(300_000);
  const report = reportOf({ type: "output", delta });
  return play(Array.from({ length: pieces }, () => ({ wait: 1, report })));
}

export function backendJobContract(withSql: WithSql): void {
  describe("the store of a job without a space", () => {
    it("doesn't exist before a job is made, and reading doesn't make it", () =>
      withSql((sql) => {
        expect(isMigrated(sql)).toBe(false);
        expect(openStore(sql).read()).toBeNull();
      }));

    it("is refused if a newer program wrote it", () =>
      withSql((sql) => {
        openStore(sql);
        sql.run("UPDATE schema_version SET version = version + 1");
        expect(() => openStore(sql)).toThrow(NewerSchema);
      }));

    it("returns every job as it was stored, whatever was reported", () =>
      withSql((sql) => {
        const store = openStore(sql);
        fc.assert(
          fc.property(histories, (history) => {
            const { job, events } = play(history);
            store.add(job, events);
            expect(store.read()).toEqual(job);
            expect(store.log.after(ID, 0)).toEqual(events);
            store.log.remove(ID);
          }),
          { numRuns: 60 },
        );
      }));

    it("remembers the ids of outputs, before and after the end (B4a)", () =>
      withSql((sql) => {
        const store = openStore(sql);
        const output = reportOf({ type: "output", delta: "a", id: "one" });
        const { job, events } = play([{ wait: 1, report: output }]);
        store.add(job, events);
        expect(store.read()?.recentOutputs).toEqual([{ id: "one", offset: 3 }]);
        const { job: over } = reported(job, reportOf({ type: "complete" }), START);
        store.update(over, []);
        expect(store.read()).toEqual(over);
        expect(store.read()?.recentOutputs).toEqual([{ id: "one", offset: 3 }]);
      }));

    it("stores one report after the other", () =>
      withSql((sql) => {
        const store = openStore(sql);
        const { job, events } = newJob({ input: { prompt: "a cat" }, visibility: "private" });
        store.add(job, events);
        const half = reported(job, reportOf({ type: "progress", progress: 50 }), START + 1);
        if (half.kind === "changed") store.update(half.job, half.events);
        expect(store.read()).toEqual(half.job);
        expect(store.log.after(ID, 1)).toMatchObject([{ offset: 2, progress: 50 }]);
      }));

    it("knows whether output of the latest attempt was dropped, as opposed to that of an earlier one", () =>
      withSql((sql) => {
        const store = openStore(sql);
        const { job, events } = jobWithOutput(3);
        store.add(job, events);
        expect(store.lacksOutput(job)).toBe(false);
        const { job: longer, events: more } = jobWithOutput(8);
        store.update(longer, more.slice(events.length));
        expect(store.lacksOutput(longer)).toBe(true);
        expect(store.log.bytesOf(ID)).toBeLessThanOrEqual(LIMITS.jobLogBytes);
        const waits = reported(longer, reportOf({ type: "progress", status: "queued" }), START + 9);
        const again = reported(waits.job, reportOf({ type: "progress" }), START + 10);
        expect(store.lacksOutput(again.job)).toBe(false);
      }));
  });
}
