import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type MonitorBinding, Reporter } from "../../src/monitor/reporter.ts";
import type { Report } from "../../src/protocol/monitor.ts";

function reportOf(connections: number): Report {
  const jobs = { active: 0, completed: 0, failed: 0, canceled: 0 };
  return { kind: "room", connections, jobs_with_connections: 0, jobs, recent: [] };
}

/** A monitor that notes what it is told and when, and answers after `delayMs`, or not. */
class FakeMonitor {
  readonly told: { at: number; source: string; connections: number | null }[] = [];
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
    this.told.push({ at, source, connections });
  }
}

/** An object whose state is a number. */
function makeSource() {
  const monitor = new FakeMonitor();
  const source = { now: 0 as number | null, asked: 0 };
  const reporter = new Reporter(monitor.env, "room", "project:42", () => {
    source.asked += 1;
    return source.now === null ? null : reportOf(source.now);
  });
  const become = (now: number | null) => {
    source.now = now;
    reporter.markChanged();
  };
  const heard = () => monitor.told.map(({ connections }) => connections);
  return { monitor, reporter, source, become, heard };
}

/** What changes within this is told together, milliseconds. */
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
  it("name it, and come soon where the last one was a second ago or more", async () => {
    const { monitor, become } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(2_000);
    become(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(monitor.told).toEqual([
      { at: 1_000_000 + SOON, source: "room:project:42", connections: 1 },
      { at: 1_002_000 + SOON, source: "room:project:42", connections: 2 },
    ]);
  });

  it("tell many changes of a second as one, once it is over, as things stand then", async () => {
    const { monitor, source, become } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(SOON + 50);
    for (let count = 2; count < 500; count += 1) become(count);
    source.now = 500;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(monitor.told.map(({ at, connections }) => [at - 1_000_000, connections])).toEqual([
      [SOON, 1],
      [SOON + 1_000, 500],
    ]);
    expect(source.asked).toBe(2);
  });

  it("are one for what begins and ends at once, as things stand then", async () => {
    const { source, become, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(SOON - 1);
    expect(heard()).toEqual([]);
    become(0);
    source.now = 2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(heard()).toEqual([2]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stop with the changes: no timer runs while nothing happens, nor is anything told twice", async () => {
    const { become, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(SOON);
    become(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(vi.getTimerCount()).toBe(0);
    become(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(heard()).toEqual([1]);
  });

  it("are two for what begins and ends within a second, and no timer is left once it is over", async () => {
    const { become, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(300);
    become(2);
    await vi.advanceTimersByTimeAsync(300);
    become(0);
    await vi.advanceTimersByTimeAsync(400 + SOON);
    expect(heard()).toEqual([1, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("wait for the one before to be taken, however long that takes", async () => {
    const { monitor, become, heard } = makeSource();
    monitor.delayMs = 4_000;
    become(1);
    await vi.advanceTimersByTimeAsync(SOON);
    become(2);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(heard()).toEqual([]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard()).toEqual([1, 2]);
  });

  it("are told again a few times where the monitor fails, then with the next change", async () => {
    const { monitor, become, heard } = makeSource();
    monitor.refusals = 2;
    become(1);
    await vi.advanceTimersByTimeAsync(2_000 + SOON);
    expect(heard()).toEqual([1]);
    monitor.refusals = Number.POSITIVE_INFINITY;
    become(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
    monitor.refusals = 0;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(heard()).toEqual([1]);
    become(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(heard()).toEqual([1, 2]);
  });

  it("are told after a failure even where things are as they were before it", async () => {
    const { monitor, become, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(1_000);
    monitor.refusals = 1;
    become(0);
    await vi.advanceTimersByTimeAsync(500);
    become(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(heard()).toEqual([1, 1]);
  });

  it("end with the object: the monitor is told to forget it, at once where that is wanted", async () => {
    const { source, become, reporter, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(SOON);
    become(2);
    source.now = null;
    await reporter.flush();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard()).toEqual([1, null]);
  });

  it("that were stopped are not told, until something changes again", async () => {
    const { reporter, become, heard } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(SOON);
    become(2);
    reporter.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard()).toEqual([1]);
    expect(vi.getTimerCount()).toBe(0);
    become(3);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(heard()).toEqual([1, 3]);
  });

  it("end with how things stand, and are a second apart, whatever happens before", async () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 1_500 }),
      now: fc.integer({ min: 0, max: 3 }),
      delayMs: fc.constantFrom(0, 20, 1_200),
      refusals: fc.constantFrom(0, 0, 0, 1, 3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        const { monitor, source, become, heard } = makeSource();
        for (const { waitMs, now, delayMs, refusals } of steps) {
          Object.assign(monitor, { delayMs, refusals });
          become(now);
          await vi.advanceTimersByTimeAsync(waitMs);
        }
        await vi.advanceTimersByTimeAsync(60_000);
        expect(heard().at(-1)).toBe(source.now);
        expect(vi.getTimerCount()).toBe(0);
        const times = monitor.told.map(({ at }) => at);
        for (const [index, at] of times.slice(1).entries()) {
          expect(at - (times[index] ?? 0)).toBeGreaterThanOrEqual(1_000);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("an object is asked by the monitor, by itself", () => {
  it("where the last it heard is that something goes on", async () => {
    const { reporter, become } = makeSource();
    expect(reporter.isPolled).toBe(false);
    become(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(true);
    become(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(false);
  });

  it("but not while a report may have told it the contrary", async () => {
    const { monitor, reporter, become } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(2_000);
    monitor.delayMs = 5_000;
    become(0);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(false);
  });

  it("but not after a report that was lost, until the next is taken", async () => {
    const { monitor, reporter, become } = makeSource();
    become(1);
    await vi.advanceTimersByTimeAsync(2_000);
    monitor.refusals = 1;
    become(2);
    await vi.advanceTimersByTimeAsync(SOON);
    expect(reporter.isPolled).toBe(false);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reporter.isPolled).toBe(true);
  });

  it("where it has been asked, by what it answered; and where its sockets outlived its memory", () => {
    const { monitor, reporter } = makeSource();
    reporter.noteDelivered(reportOf(1));
    expect(reporter.isPolled).toBe(true);
    reporter.noteDelivered(reportOf(0));
    expect(reporter.isPolled).toBe(false);
    const woken = new Reporter(monitor.env, "space", "woken", () => reportOf(1), true);
    expect(woken.isPolled).toBe(true);
  });
});
