import { decodeTime, isValid } from "ulid";
import { describe, expect, it } from "vitest";
import { JobIds } from "../../src/space/jobs/job-ids.ts";
import { START } from "./steps.ts";

/** How many ids can be made within one millisecond. */
const A_MILLISECOND = 32_768;
const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

function make(ids: JobIds, count: number, now: number): string[] {
  return Array.from({ length: count }, () => ids.next(now));
}

/** The random part of an id: all of it but the time and the count. */
function randomPart(id: string): bigint {
  return [...id.slice(13)].reduce((sum, digit) => sum * 32n + BigInt(DIGITS.indexOf(digit)), 0n);
}

function expectAscending(ids: readonly string[]): void {
  const firstWrong = ids.findIndex((id, index) => index > 0 && id <= (ids[index - 1] ?? ""));
  expect(firstWrong).toBe(-1);
}

describe("ids of jobs", () => {
  it("are ULIDs of their time, in the order they were made", () => {
    const ids = new JobIds(null);
    const made: string[] = [];
    for (const ms of [0, 0, 0, 1, 1, 5, 1_000]) {
      const id = ids.next(START + ms);
      expect(isValid(id)).toBe(true);
      expect(decodeTime(id)).toBe(START + ms);
      made.push(id);
    }
    expectAscending(made);
  });

  it("can't be guessed from each other: no two of one millisecond have random parts that are close", () => {
    const parts = make(new JobIds(null), 2_000, START).map(randomPart);
    parts.sort((a, b) => (a < b ? -1 : 1));
    const gaps = parts.slice(1).map((part, index) => part - (parts[index] ?? 0n));
    const near = gaps.filter((gap) => gap < 2n ** 20n);
    expect(near).toEqual([]);
    expect((parts.at(-1) ?? 0n) >> 60n).toBe(31n);
  });

  it("have every digit in every random place, each equally often", () => {
    const made = make(new JobIds(null), 20_000, START);
    for (let place = 13; place < 26; place += 1) {
      const counts = new Map<string, number>();
      for (const id of made) counts.set(id[place] ?? "", (counts.get(id[place] ?? "") ?? 0) + 1);
      expect([...counts.keys()].sort().join("")).toBe(DIGITS);
      // 625 of each is the mean, 25 the deviation.
      expect(Math.min(...counts.values())).toBeGreaterThan(425);
      expect(Math.max(...counts.values())).toBeLessThan(825);
    }
  });

  it("differ even if two generators start at the same moment", () => {
    const [first, second] = [
      make(new JobIds(null), 100, START),
      make(new JobIds(null), 100, START),
    ];
    expect(new Set([...first, ...second]).size).toBe(200);
  });

  it("come after the newest one that is stored, whatever the clock shows now", () => {
    const stored = make(new JobIds(null), 50, START).at(-1) ?? "";
    for (const now of [START - 3_600_000, START, START + 1, START + 2]) {
      const made = make(new JobIds(stored), 50, now);
      expectAscending([stored, ...made]);
    }
    expect(decodeTime(new JobIds(stored).next(START + 9_000))).toBe(START + 9_000);
  });

  it("keep their order when the clock goes back, and follow it once it is ahead again", () => {
    const ids = new JobIds(null);
    const made = [0, -1, -60_000, 0, -1, 1, 0, 2].map((ms) => ids.next(START + ms));
    expectAscending(made);
    expect(decodeTime(made.at(-1) ?? "")).toBe(START + 2);
  });

  it("keep their order, and stay ULIDs, when more are made in a millisecond than it can count", () => {
    const ids = new JobIds(null);
    const made = make(ids, 2 * A_MILLISECOND + 10, START);
    expectAscending(made);
    expect(new Set(made.map((id) => id.length))).toEqual(new Set([26]));
    expect(decodeTime(made[A_MILLISECOND - 1] ?? "")).toBe(START);
    expect(decodeTime(made[A_MILLISECOND] ?? "")).toBe(START + 1);
    expectAscending([made.at(-1) ?? "", ...make(ids, A_MILLISECOND, START + 1), ids.next(START)]);
  });
});
