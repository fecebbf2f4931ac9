import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type MonitorBinding, Reporter } from "../../src/monitor/reporter.ts";
import type { Report } from "../../src/protocol/monitor.ts";

function reportOf(connections: number): Report {
  const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
  return { kind: "room", connections, jobs_with_connections: 0, jobs, recent: [] };
}

/** A monitor that records its reports and answers after `delayMs`; it fails `refusals` times. */
class FakeMonitor {
  readonly reports: { at: number; source: string; connections: number | null }[] = [];
  delayMs = 0;
  refusals = 0;

  readonly env: MonitorBinding = { MONITOR: { getByName: () => this } };

  report(source: string, { connections }: Report): Promise<void> {
    return this.note(source, connections);
  }

  forget(source: string): Promise<void> {
    return this.note(source, null);
  }

  private async note(source: string, connections: number | null): Promise<void> {
    const at = Date.now();
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new Error("the monitor crashed");
    }
    this.reports.push({ at, source, connections });
  }
}

/** An object that reports one number; `null`: it no longer exists. */
function makeSource() {
  const monitor = new FakeMonitor();
  const source = { now: 0 as number | null, asked: 0 };
  const reporter = new Reporter(monitor.env, "room", "project:42", () => {
    source.asked += 1;
    return source.now === null ? null : reportOf(source.now);
  });
  const changeTo = (now: number | null) => {
    source.now = now;
    reporter.markChanged();
  };
  const received = () => monitor.reports.map(({ connections }) => connections);
  return { monitor, reporter, source, changeTo, received };
}

/** Changes within this time are reported together, milliseconds. */
const SOON = 100;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  vi.spyOn(console, "error").mockReturnValue(undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("an object's reports", () => {
  it("name it, and come soon if the last one was a second ago or more (M4)", async () => {
    const { monitor, changeTo } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000);
    changeTo(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(monitor.reports).toEqual([
      { at: 1_000_000 + SOON, source: "room:project:42", connections: 1 },
      { at: 1_002_000 + SOON, source: "room:project:42", connections: 2 },
    ]);
  });

  it("are one for many changes within a second, with the numbers at its end (M4)", async () => {
    const { monitor, source, changeTo } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON + 50);
    for (let count = 2; count < 500; count += 1) changeTo(count);
    source.now = 500;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(monitor.reports.map(({ at, connections }) => [at - 1_000_000, connections])).toEqual([
      [SOON, 1],
      [SOON + 1_000, 500],
    ]);
    expect(source.asked).toBe(2);
  });

  it("are one for a change that is undone at once, with the numbers at the end", async () => {
    const { source, changeTo, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON - 1);
    expect(received()).toEqual([]);
    changeTo(0);
    source.now = 2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(received()).toEqual([2]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stop when nothing changes: no timer runs, and no report is sent twice", async () => {
    const { changeTo, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON);
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(vi.getTimerCount()).toBe(0);
    changeTo(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(received()).toEqual([1]);
  });

  it("are two for a change that is undone within a second, and no timer is left afterwards", async () => {
    const { changeTo, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(300);
    changeTo(2);
    await vi.advanceTimersByTimeAsync(300);
    changeTo(0);
    await vi.advanceTimersByTimeAsync(400 + SOON);
    expect(received()).toEqual([1, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("wait for the previous one to be taken, however long that takes", async () => {
    const { monitor, changeTo, received } = makeSource();
    monitor.delayMs = 4_000;
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON);
    changeTo(2);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(received()).toEqual([]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(received()).toEqual([1, 2]);
  });

  it("are sent again a few times if the monitor fails, then with the next change", async () => {
    const { monitor, changeTo, received } = makeSource();
    monitor.refusals = 2;
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000 + SOON);
    expect(received()).toEqual([1]);
    monitor.refusals = Number.POSITIVE_INFINITY;
    changeTo(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
    monitor.refusals = 0;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(received()).toEqual([1]);
    changeTo(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(received()).toEqual([1, 2]);
  });

  it("are sent after a failure even if the numbers are what they were before it", async () => {
    const { monitor, changeTo, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(1_000);
    monitor.refusals = 1;
    changeTo(0);
    await vi.advanceTimersByTimeAsync(500);
    changeTo(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(received()).toEqual([1, 1]);
  });

  it("end with the object: the monitor is told to forget it, at once if the object flushes", async () => {
    const { source, changeTo, reporter, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON);
    changeTo(2);
    source.now = null;
    await reporter.flush();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(received()).toEqual([1, null]);
  });

  it("are not sent once they are stopped, until something changes again", async () => {
    const { reporter, changeTo, received } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(SOON);
    changeTo(2);
    reporter.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(received()).toEqual([1]);
    expect(vi.getTimerCount()).toBe(0);
    changeTo(3);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(received()).toEqual([1, 3]);
  });

  it("end with the current numbers and are a second apart, whatever happens before (M4)", async () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 1_500 }),
      now: fc.integer({ min: 0, max: 3 }),
      delayMs: fc.constantFrom(0, 20, 1_200),
      refusals: fc.constantFrom(0, 0, 0, 1, 3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        const { monitor, source, changeTo, received } = makeSource();
        for (const { waitMs, now, delayMs, refusals } of steps) {
          Object.assign(monitor, { delayMs, refusals });
          changeTo(now);
          await vi.advanceTimersByTimeAsync(waitMs);
        }
        await vi.advanceTimersByTimeAsync(60_000);
        expect(received().at(-1)).toBe(source.now);
        expect(vi.getTimerCount()).toBe(0);
        const times = monitor.reports.map(({ at }) => at);
        for (const [index, at] of times.slice(1).entries()) {
          expect(at - (times[index] ?? 0)).toBeGreaterThanOrEqual(1_000);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("an object knows that the monitor polls it", () => {
  it("if its last report had open sockets or active jobs", async () => {
    const { reporter, changeTo } = makeSource();
    expect(reporter.isPolled).toBe(false);
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(true);
    changeTo(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(false);
  });

  it("but not while a report that says otherwise is under way", async () => {
    const { monitor, reporter, changeTo } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000);
    monitor.delayMs = 5_000;
    changeTo(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(false);
  });

  it("but not after a report that failed, until the next one is taken", async () => {
    const { monitor, reporter, changeTo } = makeSource();
    changeTo(1);
    await vi.advanceTimersByTimeAsync(2_000);
    monitor.refusals = 1;
    changeTo(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(reporter.isPolled).toBe(false);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(true);
  });

  it("by its answer if it was asked, and if its sockets outlived its memory", () => {
    const { monitor, reporter } = makeSource();
    reporter.noteDelivered(reportOf(1));
    expect(reporter.isPolled).toBe(true);
    reporter.noteDelivered(reportOf(0));
    expect(reporter.isPolled).toBe(false);
    const woken = new Reporter(monitor.env, "space", "woken", () => reportOf(1), true);
    expect(woken.isPolled).toBe(true);
  });
});
