import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteLength } from "../../src/protocol/codec.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { LogEvent } from "../../src/queue/job.ts";
import { JobLog } from "../../src/storage/job-log.ts";
import { migrate } from "../../src/storage/migrations.ts";
import type { Sql } from "../../src/storage/sql.ts";
import { type WithSql, withStore } from "./with-sql.ts";

const ULID = "01KA7Z3QK0ABCDEFGHJKMNPQRS";
const OTHER = "01KA7Z3QK0ABCDEFGHJKMNPQRT";

/** A piece of output; its time is the same number as its offset. */
function output(offset: number, delta = `piece ${offset}`, attempt = 1): LogEvent {
  return { kind: "output", offset, at: offset, attempt, delta };
}

function progress(offset: number, percent: number, attempt = 1): LogEvent {
  const state = { progress: percent, message: `at ${percent}`, estimatedRemaining: 100 - percent };
  return { kind: "progress", offset, at: offset, attempt, ...state };
}

/** The size of an event in the log, bytes: its JSON and a separator. */
function bytesOf(event: LogEvent): number {
  return byteLength(JSON.stringify(event)) + 1;
}

/** A piece of output whose size is such that `count` of them fill the log exactly. */
function outputOf(count: number, offset: number, attempt = 1): LogEvent {
  const bytes = LIMITS.jobLogBytes / count;
  const length = Math.floor(bytes) - bytesOf(output(offset, "", attempt));
  return output(offset, "x".repeat(length), attempt);
}

function totalOf(events: LogEvent[]): number {
  return events.reduce((sum, event) => sum + bytesOf(event), 0);
}

function offsetsOf(log: JobLog, after = 0): number[] {
  return log.after(ULID, after).map(({ offset }) => offset);
}

export function jobLogContract(withSql: WithSql): void {
  const withLog = (work: (log: JobLog) => void) => withStore(withSql, (store) => work(store.log));

  describe("the log of a job", () => {
    it("returns its events in order, after any offset, within a batch or between batches", () =>
      withLog((log) => {
        const events = [output(2), progress(3, 5), output(5), output(6), output(8)];
        log.append(ULID, events.slice(0, 3));
        log.append(OTHER, [output(4)]);
        log.append(ULID, events.slice(3));
        for (let offset = 0; offset <= 9; offset += 1) {
          expect(log.after(ULID, offset)).toEqual(events.filter((event) => event.offset > offset));
        }
        expect([log.lastOffset(ULID), log.lastOffset(OTHER)]).toEqual([8, 4]);
      }));

    it("is empty before anything was stored, and an empty batch changes nothing", () =>
      withLog((log) => {
        log.append(ULID, []);
        expect(log.after(ULID, 0)).toEqual([]);
        expect([log.lastOffset(ULID), log.trimmedTo(ULID)]).toEqual([0, 0]);
        expect([log.bytesOf(ULID), log.remembered(ULID)]).toEqual([0, null]);
      }));

    it("is kept whole up to its limit (C11)", () =>
      withLog((log) => {
        for (let offset = 1; offset <= 4; offset += 1) log.append(ULID, [outputOf(4, offset)]);
        expect(offsetsOf(log)).toEqual([1, 2, 3, 4]);
        expect(log.trimmedTo(ULID)).toBe(0);
      }));

    it("loses its oldest events beyond its limit, no more than necessary, and knows up to which offset", () =>
      withLog((log) => {
        for (let offset = 1; offset <= 7; offset += 1) {
          log.append(ULID, [outputOf(4, offset)]);
          const dropped = Math.max(0, offset - 4);
          expect(log.trimmedTo(ULID)).toBe(dropped);
          expect(offsetsOf(log)[0]).toBe(dropped + 1);
          expect(log.lastOffset(ULID)).toBe(offset);
        }
        expect(offsetsOf(log, 6)).toEqual([7]);
      }));

    it("drops no more than necessary, whatever the sizes of its batches", () =>
      withLog((log) => {
        const sizes = fc.array(fc.nat(Math.floor(LIMITS.jobLogBytes * 0.6)), { maxLength: 8 });
        const anySizes = fc.property(sizes, (lengths) => {
          const kept: LogEvent[] = [];
          for (const [index, length] of lengths.entries()) {
            const event = output(index + 1, "x".repeat(length));
            log.append(ULID, [event]);
            kept.push(event);
            while (kept.length > 1 && totalOf(kept) > LIMITS.jobLogBytes) kept.shift();
            expect(offsetsOf(log)).toEqual(kept.map(({ offset }) => offset));
            expect(log.trimmedTo(ULID)).toBe(index + 1 - kept.length);
          }
          log.remove(ULID);
        });
        fc.assert(anySizes, { numRuns: 20 });
      }));

    it("reads equally few rows for an append, however long it is", () =>
      withSql((sql) => {
        migrate(sql);
        let rows = 0;
        const all: Sql["all"] = (query, ...bindings) => {
          const found = sql.all<never>(query, ...bindings);
          rows += found.length;
          return found;
        };
        const log = new JobLog({ ...sql, all });
        for (let offset = 1; offset <= 500; offset += 1) {
          rows = 0;
          log.append(ULID, [output(offset, "x".repeat(4_000))]);
          expect(rows).toBeLessThanOrEqual(4);
        }
        expect(log.trimmedTo(ULID)).toBeGreaterThan(0);
      }));

    it("keeps its newest event, however large, and drops those before it", () =>
      withLog((log) => {
        log.append(ULID, [output(1)]);
        log.append(ULID, [output(2), output(3, "x".repeat(LIMITS.jobLogBytes))]);
        expect(offsetsOf(log)).toEqual([3]);
        expect(log.trimmedTo(ULID)).toBe(2);
        log.append(ULID, [output(4)]);
        expect(offsetsOf(log)).toEqual([4]);
      }));

    it("stores a batch of any size in rows of limited size", () =>
      withSql((sql) => {
        migrate(sql);
        const events = Array.from({ length: 12 }, (_, index) =>
          output(index + 1, "x".repeat(LIMITS.jobLogBytes / 12 - 100)),
        );
        new JobLog(sql).append(ULID, events);
        expect(new JobLog(sql).after(ULID, 0)).toEqual(events);
        const [row] = sql.all<{ largest: number }>(
          "SELECT MAX(LENGTH(events)) AS largest FROM channel_log",
        );
        expect(row?.largest).toBeLessThan(300_000);
      }));

    it("that is full doesn't affect the log of another job", () =>
      withLog((log) => {
        log.append(OTHER, [output(1)]);
        for (let offset = 1; offset <= 3; offset += 1) log.append(ULID, [outputOf(2, offset)]);
        expect(log.trimmedTo(OTHER)).toBe(0);
        expect(log.after(OTHER, 0)).toEqual([output(1)]);
      }));

    it("starts empty after it was removed, also for its limit", () =>
      withLog((log) => {
        for (let offset = 1; offset <= 3; offset += 1) log.append(ULID, [outputOf(2, offset)]);
        log.remove(ULID);
        expect([log.lastOffset(ULID), log.trimmedTo(ULID)]).toEqual([0, 0]);
        for (let offset = 1; offset <= 2; offset += 1) log.append(ULID, [outputOf(2, offset)]);
        expect(offsetsOf(log)).toEqual([1, 2]);
      }));
  });

  it("the log of a job knows whether it has all output of the latest attempt (C11b)", () =>
    withLog((log) => {
      const sizes = fc.array(fc.nat(Math.floor(LIMITS.jobLogBytes / 3)), { maxLength: 6 });
      const anyAttempts = fc.property(fc.array(sizes, { maxLength: 4 }), (attempts) => {
        let offset = 0;
        for (const [index, lengths] of attempts.entries()) {
          const attempt = index + 1;
          log.append(ULID, [progress(++offset, 0, attempt)]);
          for (const length of lengths) {
            log.append(ULID, [output(++offset, "x".repeat(length), attempt)]);
          }
          const kept = log.after(ULID, 0).filter((event) => event.kind === "output");
          const ofAttempt = kept.filter((event) => event.attempt === attempt);
          expect(log.lacksOutput(ULID, attempt)).toBe(ofAttempt.length < lengths.length);
          expect(log.lacksOutput(ULID, attempt + 1)).toBe(false);
        }
        log.remove(ULID);
      });
      fc.assert(anyAttempts, { numRuns: 30 });
    }));

  describe("a running attempt, read back from its log", () => {
    it("that reported nothing yet has no progress and no outputs", () =>
      withLog((log) => {
        log.append(ULID, [{ kind: "position", offset: 2, at: 2, position: 1 }, output(4)]);
        expect(log.live(ULID, 2)).toEqual({
          progress: 0,
          message: null,
          estimatedRemaining: null,
          outputs: 0,
          lastFrameAt: null,
          reportedAt: null,
        });
      }));

    it("has its latest progress and the number of its outputs, not those of earlier attempts", () =>
      withLog((log) => {
        log.append(ULID, [output(3), progress(4, 90), output(5)]);
        log.append(ULID, [output(8, "a", 2), progress(9, 20, 2)]);
        log.append(ULID, [output(10, "b", 2)]);
        expect(log.live(ULID, 2)).toEqual({
          progress: 20,
          message: "at 20",
          estimatedRemaining: 80,
          outputs: 2,
          lastFrameAt: 10,
          reportedAt: 9,
        });
      }));

    it("counts all its outputs, including those that the log dropped", () =>
      withLog((log) => {
        for (let offset = 1; offset <= 9; offset += 1) {
          log.append(ULID, [outputOf(3, offset)]);
          expect(log.live(ULID, 1)).toMatchObject({ outputs: offset, lastFrameAt: offset });
        }
        expect(offsetsOf(log)).toEqual([7, 8, 9]);
      }));

    it("counts all its outputs whatever the batches, and the log has no gap after what it dropped", () =>
      withLog((log) => {
        const batch = fc.array(fc.nat(Math.floor(LIMITS.jobLogBytes / 5)), { maxLength: 6 });
        const anyBatches = fc.property(fc.array(batch, { maxLength: 5 }), (batches) => {
          let offset = 0;
          for (const lengths of batches) {
            log.append(
              ULID,
              lengths.map((length) => output(++offset, "x".repeat(length))),
            );
            const kept = offsetsOf(log);
            const first = log.trimmedTo(ULID) + 1;
            expect(kept).toEqual(Array.from({ length: offset + 1 - first }, (_, i) => first + i));
            expect(log.live(ULID, 1).outputs).toBe(offset);
          }
          log.remove(ULID);
        });
        fc.assert(anyBatches, { numRuns: 20 });
      }));

    it("has its latest progress even if the log dropped it", () =>
      withLog((log) => {
        log.append(ULID, [progress(1, 10), progress(2, 40)]);
        for (let offset = 3; offset <= 9; offset += 1) log.append(ULID, [outputOf(3, offset)]);
        expect(log.live(ULID, 1)).toEqual({
          progress: 40,
          message: "at 40",
          estimatedRemaining: 60,
          outputs: 7,
          lastFrameAt: 9,
          reportedAt: 2,
        });
      }));

    it("has the files that it told of even if the log dropped that, and a file is no piece of output (C11b)", () =>
      withLog((log) => {
        const file = (offset: number, id: string, preview: boolean): LogEvent => {
          const stored = { folder: "f", id, name: id, content_type: "", size: 1, sha256: "" };
          return { kind: "file", offset, at: offset, attempt: 1, file: stored, preview };
        };
        log.append(ULID, [file(1, "b", false), file(2, "a", false), file(3, "now", true)]);
        for (let offset = 4; offset <= 6; offset += 1) log.append(ULID, [outputOf(3, offset)]);
        expect(log.trimmedTo(ULID)).toBe(3);
        expect(log.live(ULID, 1)).toMatchObject({
          outputs: 6,
          files: { told: ["b", "a"], preview: "now" },
        });
        expect(log.lacksOutput(ULID, 1)).toBe(false);
        log.append(ULID, [outputOf(3, 7)]);
        expect(log.lacksOutput(ULID, 1)).toBe(true);
      }));

    it("has nothing of the dropped outputs and progress of an earlier attempt", () =>
      withLog((log) => {
        log.append(ULID, [progress(1, 10)]);
        for (let offset = 2; offset <= 6; offset += 1) log.append(ULID, [outputOf(3, offset)]);
        for (let offset = 8; offset <= 13; offset += 1) log.append(ULID, [outputOf(3, offset, 2)]);
        expect(log.live(ULID, 2)).toMatchObject({ progress: 0, message: null, outputs: 6 });
      }));
  });
}
