import { describe, expect, it, vi } from "vitest";
import { MessageTurns, turnsOf } from "../../src/objects/message-turns.ts";
import { pass, runInFakeRuntime } from "../support/runtime/globals.ts";

runInFakeRuntime();

/** How long a timer takes that is due at once, milliseconds: others have their turn before. */
const TURN_MS = 3;

/** An object, and how often it took nothing for a moment. */
function makeTurns() {
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms || TURN_MS));
  vi.stubGlobal("scheduler", { wait });
  let rests = 0;
  const ctx = {
    blockConcurrencyWhile: (work: () => Promise<unknown>) => {
      rests += 1;
      return work();
    },
  } as unknown as DurableObjectState;
  const turns = new MessageTurns(ctx);
  const send = (count: number, isTrusted = false) => {
    for (let n = 0; n < count; n += 1) turns.onMessage(isTrusted);
  };
  return { turns, send, rests: () => rests };
}

/** How much allowances are refilled in a second, milliseconds. */
async function refilledInASecond(turns: MessageTurns): Promise<number> {
  const before = turns.allowanceTime(Date.now());
  await pass(1_000);
  return turns.allowanceTime(Date.now()) - before;
}

describe("an object whose sockets send on and on", () => {
  it("takes nothing for a moment when nobody else had a turn for 64 messages", async () => {
    const { send, rests } = makeTurns();
    // The first 64 are counted before it looks for the first time.
    send(64 + 63);
    expect(rests()).toBe(0);
    send(1);
    expect(rests()).toBe(1);
    await pass(1);
    send(63);
    expect(rests()).toBe(1);
    send(1);
    expect(rests()).toBe(2);
  });

  it("does not rest while it rests, nor for what came before", async () => {
    const { send, rests } = makeTurns();
    send(128);
    send(128);
    expect(rests()).toBe(1);
    await pass(10);
    send(64);
    expect(rests()).toBe(1);
  });

  it("goes on if others have their turn in between, however much comes", async () => {
    const { turns, send, rests } = makeTurns();
    for (let n = 0; n < 100; n += 1) {
      send(64);
      await pass(TURN_MS);
    }
    expect(rests()).toBe(0);
    expect(await refilledInASecond(turns)).toBe(1_000);
  });

  it("rests less often for those who have no reason to harm it", () => {
    const { send, rests } = makeTurns();
    send(512 + 511, true);
    expect(rests()).toBe(0);
    send(1, true);
    expect(rests()).toBe(1);
  });

  it("rests after 16 messages of sockets that it has closed, whether others had a turn or not", async () => {
    const { turns, rests } = makeTurns();
    const ignore = (count: number) => {
      for (let n = 0; n < count; n += 1) turns.onIgnored();
    };
    ignore(15);
    expect(rests()).toBe(0);
    ignore(1);
    expect(rests()).toBe(1);
    await pass(100);
    ignore(16);
    expect(rests()).toBe(2);
  });
});

describe("the allowances of strangers", () => {
  it("are refilled at a tenth while more comes than the object can handle, then as ever (S20b)", async () => {
    const { turns, send } = makeTurns();
    const began = turns.allowanceTime(Date.now());
    send(128);
    // Each millisecond 64 more, and no timer goes off in between: the object has no time for anything else.
    for (let n = 0; n < 100; n += 1) {
      await pass(1);
      send(64);
    }
    expect(turns.allowanceTime(Date.now()) - began).toBeCloseTo(10, 5);
    await pass(5);
    expect(await refilledInASecond(turns)).toBe(1_000);
  });

  it("are not refilled by a clock that is set back", async () => {
    const { turns } = makeTurns();
    const now = Date.now();
    const before = turns.allowanceTime(now);
    expect(turns.allowanceTime(now - 60_000)).toBe(before);
    expect(turns.allowanceTime(now - 59_000)).toBe(before + 1_000);
  });
});

describe("the turns of an object", () => {
  it("are counted for all of its sockets together", () => {
    const ctx = {} as DurableObjectState;
    expect(turnsOf(ctx)).toBe(turnsOf(ctx));
    expect(turnsOf({} as DurableObjectState)).not.toBe(turnsOf(ctx));
  });
});
