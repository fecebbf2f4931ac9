import { describe, expect, it } from "vitest";
import { JobIds } from "../../src/space/jobs/job-ids.ts";
import { START } from "../support/runtime/globals.ts";

describe("ids of jobs", () => {
  it("sort in the order in which they are made, however many a millisecond has, and whatever came before", () => {
    const ids = new JobIds(null);
    const made: string[] = [];
    for (let ms = 0; ms < 33_000; ms += 1) made.push(ids.next(START + ms));
    for (let count = 0; count < 70_000; count += 1) made.push(ids.next(START + 33_000));
    made.push(ids.next(START));
    made.push(ids.next(START + 60_000));
    const isSorted = made.every((id, index) => index === 0 || (made[index - 1] ?? "") < id);
    expect(isSorted).toBe(true);
    expect(new Set(made.map(({ length }) => length))).toEqual(new Set([26]));
  });
});
