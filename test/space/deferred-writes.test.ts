import { describe, expect, it, vi } from "vitest";
import { DEFER_MS, DeferredWrites } from "../../src/space/jobs/deferred-writes.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";

runInFakeRuntime();

/** Deferred writes, and when they were stored: milliseconds after the test began. */
function makeWrites() {
  const stored: number[] = [];
  const writes = new DeferredWrites(() => {
    stored.push(Date.now() - START);
    writes.update(null);
  });
  return { writes, stored };
}

describe("a new job in memory alone", () => {
  it("is stored 10 ms after it went to its worker, once", async () => {
    const timers = vi.spyOn(globalThis, "setTimeout");
    const { writes, stored } = makeWrites();
    writes.update(START);
    await pass(DEFER_MS - 1);
    expect(stored).toEqual([]);
    await pass(100);
    expect(stored).toEqual([DEFER_MS]);
    expect(timers).toHaveBeenCalledOnce();
  });

  it("is stored then also if it went there before this was known", async () => {
    const { writes, stored } = makeWrites();
    await pass(30);
    writes.update(START + 26);
    await pass(100);
    expect(stored).toEqual([36]);
    writes.update(START);
    await pass(1);
    expect(stored).toHaveLength(2);
  });

  it("is not stored by the timer of an earlier one that ended meanwhile", async () => {
    const { writes, stored } = makeWrites();
    writes.update(START);
    await pass(6);
    writes.update(null);
    await pass(2);
    writes.update(START + 8);
    await pass(5);
    expect(stored).toEqual([]);
    await pass(100);
    expect(stored).toEqual([18]);
  });

  it("is stored soon if the clock was set back meanwhile", async () => {
    const { writes, stored } = makeWrites();
    writes.update(START);
    vi.setSystemTime(START - 3_600_000);
    await pass(DEFER_MS);
    expect(stored).toHaveLength(1);
  });

  it("needs no timer once it has ended", async () => {
    const { writes, stored } = makeWrites();
    writes.update(START);
    writes.update(null);
    await pass(100);
    expect(stored).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
