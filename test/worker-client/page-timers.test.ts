import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PageTimers } from "../../worker-client/browser/page-timers.ts";

/** The thread that ticks, as the page sees it. */
class FakeThread {
  static latest: FakeThread | null = null;
  onmessage: (() => void) | null = null;
  isEnded = false;

  constructor() {
    FakeThread.latest = this;
  }

  terminate(): void {
    this.isEnded = true;
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("Worker", FakeThread);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** The tab's own timers stand still, as in a hidden tab, and the thread ticks. */
function passHidden(seconds: number): void {
  const own = vi.getTimerCount();
  for (let second = 0; second < seconds; second += 1) {
    vi.setSystemTime(Date.now() + 1_000);
    vi.spyOn(performance, "now").mockReturnValue(Date.now());
    FakeThread.latest?.onmessage?.();
  }
  expect(own).toBeGreaterThan(0);
}

describe("timers in a page", () => {
  it("run when they are due, once or again and again, unless they were taken back", () => {
    const timers = new PageTimers();
    const ran: string[] = [];
    timers.after(500, () => ran.push("once"));
    timers.after(600, () => ran.push("never"))();
    const end = timers.every(1_000, () => ran.push("again"));
    vi.advanceTimersByTime(3_100);
    expect(ran).toEqual(["once", "again", "again", "again"]);
    end();
    vi.advanceTimersByTime(5_000);
    expect(ran).toHaveLength(4);
    timers.stop();
  });

  it("run with the ticks of a thread while the tab's own timers stand still", () => {
    vi.spyOn(performance, "now").mockReturnValue(Date.now());
    const timers = new PageTimers();
    const ran: string[] = [];
    timers.after(2_500, () => ran.push("once"));
    passHidden(2);
    expect(ran).toEqual([]);
    passHidden(1);
    expect(ran).toEqual(["once"]);
    timers.stop();
    expect(FakeThread.latest?.isEnded).toBe(true);
  });

  it("report that the tab has slept", () => {
    const timers = new PageTimers();
    const onWake = vi.fn();
    timers.onWake = onWake;
    vi.advanceTimersByTime(30_000);
    expect(onWake).not.toHaveBeenCalled();
    vi.setSystemTime(Date.now() + 60_000);
    FakeThread.latest?.onmessage?.();
    expect(onWake).toHaveBeenCalledTimes(1);
    timers.stop();
  });

  it("do without a thread where the page's policy forbids it", () => {
    vi.stubGlobal("Worker", () => {
      throw new Error("refused by the content security policy");
    });
    const timers = new PageTimers();
    const ran: string[] = [];
    timers.after(500, () => ran.push("once"));
    vi.advanceTimersByTime(500);
    expect(ran).toEqual(["once"]);
    timers.stop();
  });
});
