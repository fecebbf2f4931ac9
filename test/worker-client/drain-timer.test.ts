import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DrainTimer } from "../../worker-client/drain-timer.ts";
import { SILENT } from "../../worker-client/log.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([
  ["longer", 1_000, 60_000],
  ["shorter", 60_000, 1_000],
])("a second start that is %s leaves the shorter time", (_, first, second) => {
  const stop = vi.fn();
  const timer = new DrainTimer({ log: SILENT, unacknowledged: () => 0, stop });
  timer.start(first);
  timer.start(second);
  vi.advanceTimersByTime(999);
  expect(stop).not.toHaveBeenCalled();
  vi.advanceTimersByTime(100_000);
  expect(stop).toHaveBeenCalledTimes(1);
});
