import { describe, expect, it, vi } from "vitest";
import { BURST_FRAMES, BurstDetector } from "../../src/objects/burst-detector.ts";
import { Inbox } from "../../src/objects/inbox.ts";
import { pass, runInFakeRuntime, START, settled } from "../support/runtime/globals.ts";

runInFakeRuntime();

/** An inbox that runs each batch and remembers what was in it. */
function makeInbox(isBurst: () => boolean = () => false) {
  const batches: number[] = [];
  let callbacks: (() => void)[] = [];
  const inbox = new Inbox({
    sendBuffer: { after: (callback) => callbacks.push(callback) },
    isBurst,
    run: (steps) => {
      batches.push(steps.length);
      for (const step of steps) {
        try {
          step(Date.now());
        } catch {
          // As the engines do: if one command fails, the others still run.
        }
      }
      const stored = callbacks;
      callbacks = [];
      for (const callback of stored) callback();
    },
  });
  return { inbox, batches, waiting: () => callbacks.length };
}

const step = (answer: string) => () => ({ answer: () => answer });

describe("commands that arrive at an object", () => {
  it("in the same turn are one batch, answered in their order", async () => {
    const { inbox, batches } = makeInbox();
    const answers = [inbox.join(step("a")), inbox.join(step("b")), inbox.join(step("c"))];
    expect(batches).toEqual([]);
    expect(await Promise.all(answers)).toEqual(["a", "b", "c"]);
    expect(batches).toEqual([3]);
    expect(await inbox.join(step("d"))).toBe("d");
    expect(batches).toEqual([3, 1]);
  });

  it("wait a moment for more in a burst, but not once they are many", async () => {
    const { inbox, batches } = makeInbox(() => true);
    const first = inbox.join(step("a"));
    await Promise.resolve();
    await Promise.resolve();
    expect(batches).toEqual([]);
    const second = inbox.join(step("b"));
    await pass();
    expect(await Promise.all([first, second])).toEqual(["a", "b"]);
    expect(batches).toEqual([2]);
    const many = Array.from({ length: 8 }, () => inbox.join(step("x")));
    await Promise.all(many);
    expect(batches).toEqual([2, 8]);
    const seven = Array.from({ length: 7 }, () => inbox.join(step("x")));
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    expect(batches).toEqual([2, 8]);
    await settled(Promise.all(seven));
    expect(batches).toEqual([2, 8, 7]);
  });

  it("that are taken out run only where they were taken to", async () => {
    const { inbox, batches } = makeInbox();
    let runs = 0;
    void inbox.join(() => {
      runs += 1;
      return { answer: () => undefined };
    });
    const taken = inbox.takeAll();
    for (const run of taken) run(START);
    await pass(5);
    expect([taken.length, runs, batches]).toEqual([1, 1, []]);
    expect(inbox.takeAll()).toEqual([]);
  });

  it("fail alone, and their callers learn why", async () => {
    const { inbox } = makeInbox();
    const bad = inbox.join(() => {
      throw new Error("no");
    });
    const good = inbox.join(step("yes"));
    await expect(bad).rejects.toThrow("no");
    expect(await good).toBe("yes");
  });

  it("get the time of their batch, not of their arrival", async () => {
    const { inbox } = makeInbox(() => true);
    const at = inbox.join((now) => ({ answer: () => now }));
    vi.setSystemTime(START + 5);
    expect(await settled(at)).toBe(START + 5);
  });
});

describe("a burst", () => {
  it("is four calls within three milliseconds, or attempts that run together", () => {
    const calls = new BurstDetector();
    for (const at of [0, 1, 2]) calls.onArrival(at);
    expect(calls.isBurst(0, 2)).toBe(false);
    calls.onArrival(3);
    expect(calls.isBurst(0, 3)).toBe(true);
    expect(calls.isBurst(0, 4)).toBe(false);
    expect(calls.isBurst(3, 1_000)).toBe(false);
    expect(calls.isBurst(4, 1_000)).toBe(true);
  });

  it("is more frames on sockets: a client that waits for each answer makes no burst", () => {
    const frames = new BurstDetector(BURST_FRAMES);
    for (let frame = 0; frame < 100; frame += 1) {
      frames.onArrival(frame);
      expect(frames.isBurst(1, frame)).toBe(false);
    }
    for (let frame = 0; frame < 6; frame += 1) frames.onArrival(200);
    expect(frames.isBurst(1, 203)).toBe(true);
    expect(frames.isBurst(1, 204)).toBe(false);
  });
});
