import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileSweep, SWEEP_EVERY_MS, type SweptBucket } from "../../src/file-sweep/file-sweep.ts";

import { cursorInMemory } from "../support/sweep-cursor.ts";

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 10, 29);

/** A bucket in memory, with keys in order as R2 lists them. */
class FakeBucket implements SweptBucket {
  readonly uploaded: Map<string, number>;
  readonly deletions: number[] = [];

  constructor(uploaded: Iterable<[string, number]>) {
    this.uploaded = new Map(uploaded);
  }

  async list({ prefix, limit, startAfter = "" }: Parameters<SweptBucket["list"]>[0]) {
    const keys = [...this.uploaded.keys()].sort();
    const rest = keys.filter((key) => key.startsWith(prefix) && key > startAfter);
    const objects = rest.slice(0, limit).map((key) => {
      return { key, uploaded: new Date(this.uploaded.get(key) ?? 0) };
    });
    return { objects, truncated: rest.length > limit };
  }

  async delete(keys: string[]): Promise<void> {
    this.deletions.push(keys.length);
    for (const key of keys) this.uploaded.delete(key);
  }
}

function ulidOf(n: number): string {
  return String(n).padStart(26, "0");
}

function keysOf(space: string, n: number, count: number): string[] {
  const indexes = Array.from({ length: count }, (_, index) => index);
  return indexes.map((index) => `spaces/${space}/inputs/${ulidOf(n)}/${index}`);
}

/** A sweep over this bucket; `known` are the folders that a job has. */
function sweepOf(bucket: FakeBucket, known: ReadonlySet<string>, failing = "") {
  const asked: string[] = [];
  const sweep = new FileSweep({
    bucket,
    cursor: cursorInMemory(),
    unknownFolders: async (space, folders) => {
      asked.push(space);
      if (space === failing) throw new Error("overloaded");
      return folders.filter((folder) => !known.has(folder));
    },
    unknownOutputs: async (_space, places) => places,
  });
  /** Does steps until the sweep is over. */
  const finish = async () => {
    for (let steps = 1; ; steps += 1) {
      const dueAt = await sweep.step(NOW);
      if (dueAt === NOW + SWEEP_EVERY_MS) return steps;
      expect(dueAt - NOW).toBeLessThanOrEqual(1_000);
    }
  };
  return { finish, asked };
}

describe("a sweep of the files", () => {
  test("removes every old file without a job, and no other, however they lie in pages (H6l)", async () => {
    const folder = fc.record({
      space: fc.constantFrom("a", "b-2", "c"),
      files: fc.integer({ min: 1, max: 16 }),
      isKnown: fc.boolean(),
      ageMs: fc.constantFrom(0, HOUR_MS - 1, HOUR_MS, 30 * HOUR_MS),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(folder, { maxLength: 250 }), async (folders) => {
        const kept: string[] = [];
        const stored: [string, number][] = [];
        const known = new Set<string>();
        for (const [n, { space, files, isKnown, ageMs }] of folders.entries()) {
          const keys = keysOf(space, n, files);
          for (const key of keys) stored.push([key, NOW - ageMs]);
          if (isKnown) known.add(`spaces/${space}/inputs/${ulidOf(n)}`);
          if (isKnown || ageMs < HOUR_MS) kept.push(...keys);
        }
        const bucket = new FakeBucket(stored);
        const steps = await sweepOf(bucket, known).finish();
        expect([...bucket.uploaded.keys()].sort()).toEqual(kept.sort());
        expect(steps).toBeLessThanOrEqual(stored.length / 500 + 2);
        expect(Math.max(0, ...bucket.deletions)).toBeLessThanOrEqual(500);
      }),
      { numRuns: 30 },
    );
  });

  test("leaves everything in the bucket that isn't a file of a submit (H6l)", async () => {
    const keys = [
      "spaces/a/other",
      "spaces/a/inputs/x/0",
      "spaces/A B/inputs/y",
      "backup/1",
      "spaces/a",
    ];
    const bucket = new FakeBucket(keys.map((key) => [key, 0]));
    await sweepOf(bucket, new Set()).finish();
    expect([...bucket.uploaded.keys()]).toEqual(keys);
  });

  test("leaves the files of a space that can't be asked for the next time", async () => {
    const keys = [...keysOf("a", 1, 2), ...keysOf("b", 2, 2)];
    const bucket = new FakeBucket(keys.map((key) => [key, 0]));
    const { finish, asked } = sweepOf(bucket, new Set(), "a");
    await finish();
    expect([...bucket.uploaded.keys()]).toEqual(keysOf("a", 1, 2));
    expect(asked).toEqual(["a", "b"]);
  });
});
