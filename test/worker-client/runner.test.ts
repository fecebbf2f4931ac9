import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Runner } from "../../worker-client/runner.ts";
import { aborted } from "./start.ts";

describe("a handler's deadline", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function startHandler(runner: Runner, deadlineAt: number | null) {
    const ended: (string | null)[] = [];
    runner.start({
      key: "a",
      deadlineAt,
      perform: async (signal) => {
        throw await aborted(signal);
      },
      onEnd: (_outcome, cause) => ended.push(cause),
    });
    return ended;
  }

  test("aborts it", async () => {
    const ended = startHandler(new Runner(1), Date.now() + 400);
    await vi.advanceTimersByTimeAsync(399);
    expect(ended).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toEqual(["deadline"]);
  });

  test("doesn't abort it while deadlines are paused; then another one may (W26b)", async () => {
    const runner = new Runner(1);
    const ended = startHandler(runner, Date.now() + 400);
    runner.pauseDeadlines();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual([]);
    runner.setDeadline("a", Date.now() + 300);
    await vi.advanceTimersByTimeAsync(299);
    expect(ended).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toEqual(["deadline"]);
  });

  test("is the one from before the pause if no other is named", async () => {
    const runner = new Runner(1);
    const ended = startHandler(runner, Date.now() + 400);
    runner.pauseDeadlines();
    runner.setDeadline("a", undefined);
    await vi.advanceTimersByTimeAsync(400);
    expect(ended).toEqual(["deadline"]);
  });
});
