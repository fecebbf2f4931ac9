import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Runner } from "../../worker-client/runner.ts";
import { aborted } from "./start.ts";

/** An edge that says something at once. */
const HEARD = async () => undefined;
/** How long the edge then has to say that a deadline has moved, milliseconds. */
const LAST_WORDS_MS = 2_000;

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
    const ended = startHandler(new Runner(1, HEARD), Date.now() + 400);
    await vi.advanceTimersByTimeAsync(399 + LAST_WORDS_MS);
    expect(ended).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toEqual(["deadline"]);
  });

  test("doesn't abort it while deadlines are paused; then another one may (W26b)", async () => {
    const runner = new Runner(1, HEARD);
    const ended = startHandler(runner, Date.now() + 400);
    runner.pauseDeadlines();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual([]);
    runner.setDeadline("a", Date.now() + 300);
    await vi.advanceTimersByTimeAsync(299 + LAST_WORDS_MS);
    expect(ended).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toEqual(["deadline"]);
  });

  test("that is farther away than the longest timer doesn't abort it at once", async () => {
    const ended = startHandler(new Runner(1, HEARD), Date.now() + 40 * 86_400_000);
    await vi.advanceTimersByTimeAsync(24 * 86_400_000);
    expect(ended).toEqual([]);
  });

  test("doesn't abort it once it has ended", async () => {
    const runner = new Runner(1, HEARD);
    const ended: (string | null)[] = [];
    const perform = async () => "at once";
    runner.start({
      key: "a",
      deadlineAt: Date.now() + 400,
      perform,
      onEnd: (_, cause) => ended.push(cause),
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual([null]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is the one from before the pause if no other is named", async () => {
    const runner = new Runner(1, HEARD);
    const ended = startHandler(runner, Date.now() + 400);
    runner.pauseDeadlines();
    runner.setDeadline("a", undefined);
    await vi.advanceTimersByTimeAsync(400 + LAST_WORDS_MS);
    expect(ended).toEqual(["deadline"]);
  });

  test("aborts it only when the edge is heard from, and has had time to move it (W15a)", async () => {
    const heard: (() => void)[] = [];
    const runner = new Runner(1, () => new Promise((resolve) => heard.push(resolve)));
    const ended = startHandler(runner, Date.now() + 400);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(heard).toHaveLength(1);
    expect(ended).toEqual([]);
    heard[0]?.();
    await vi.advanceTimersByTimeAsync(LAST_WORDS_MS - 1);
    expect(ended).toEqual([]);
    runner.setDeadline("a", Date.now() + 10_000);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ended).toEqual([]);
    heard[1]?.();
    await vi.advanceTimersByTimeAsync(LAST_WORDS_MS);
    expect(ended).toEqual(["deadline"]);
  });

  test.each([
    ["moved", (runner: Runner) => runner.setDeadline("a", Date.now() + 600_000)],
    ["was paused", (runner: Runner) => runner.pauseDeadlines()],
  ])("doesn't abort it if it %s before the edge was heard from", async (_, change) => {
    const heard: (() => void)[] = [];
    const runner = new Runner(1, () => new Promise((resolve) => heard.push(resolve)));
    const ended = startHandler(runner, Date.now() + 400);
    await vi.advanceTimersByTimeAsync(400);
    change(runner);
    heard[0]?.();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual([]);
  });
});

describe("the slots of a worker", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A runner whose handlers take a second each, even if they are aborted; it notes how each ended. */
  function start(slots: number) {
    const runner = new Runner(slots, HEARD);
    const events: string[] = [];
    const add = (key: string) =>
      runner.start({
        key,
        deadlineAt: null,
        perform: async () => {
          events.push(`${key} starts`);
          await new Promise((resolve) => setTimeout(resolve, 1_000));
          return key;
        },
        onEnd: (outcome, cause) => events.push(`${key} ${outcome.type} ${cause}`),
      });
    const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
    return { runner, events, add, pass };
  }

  test("are taken in order; a run that finds none waits for the first to become free", async () => {
    const { events, add, pass } = start(2);
    expect([add("a"), add("b"), add("c"), add("d")]).toEqual([
      "started",
      "started",
      "waiting",
      "waiting",
    ]);
    await pass(1_000);
    expect(events).toEqual([
      ...["a starts", "b starts"],
      ...["a returned null", "c starts", "b returned null", "d starts"],
    ]);
  });

  test("are kept by an aborted run until it has ended, which is told why it was aborted", async () => {
    const { runner, events, add, pass } = start(1);
    add("a");
    expect(runner.isAborted("a")).toBe(false);
    runner.abort("a", "canceled");
    runner.abort("a", "stopped");
    expect(runner.isAborted("a")).toBe(true);
    expect(add("b")).toBe("waiting");
    await pass(999);
    expect(events).toEqual(["a starts"]);
    await pass(1);
    expect(events).toEqual(["a starts", "a returned canceled", "b starts"]);
    expect(runner.isAborted("a")).toBe(false);
  });

  test("are not needed by a waiting run to be aborted: it never starts", async () => {
    const { runner, events, add, pass } = start(1);
    for (const key of ["a", "b", "c"]) add(key);
    runner.abort("b", "stale");
    expect(events).toEqual(["a starts", "b threw stale"]);
    await pass(2_000);
    expect(events.slice(2)).toEqual(["a returned null", "c starts", "c returned null"]);
  });

  test("count as busy while any of them is taken", async () => {
    const { runner, add, pass } = start(2);
    await pass(5_000);
    expect(runner.busySeconds()).toBe(0);
    add("a");
    await pass(400);
    add("b");
    expect(runner.busySeconds()).toBeCloseTo(0.4);
    await pass(5_000);
    expect(runner.busySeconds()).toBeCloseTo(1.4);
  });

  test("are all aborted at once, those that wait as well", async () => {
    const { runner, events, add, pass } = start(1);
    add("a");
    add("b");
    runner.abortAll("stopped");
    await pass(1_000);
    expect(events).toEqual(["a starts", "b threw stopped", "a returned stopped"]);
  });
});
