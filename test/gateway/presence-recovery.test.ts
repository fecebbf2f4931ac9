import { describe, expect, it } from "vitest";
import { PresenceRecovery } from "../../src/gateway/presence-recovery.ts";

/** What survives the gateway's memory. */
function stored() {
  const rows = new Map<string, unknown>();
  let writes = 0;
  const kv = {
    get: (key: string) => rows.get(key),
    put: (key: string, value: unknown) => {
      writes += 1;
      rows.set(key, value);
    },
    delete: (key: string) => {
      writes += 1;
      return rows.delete(key);
    },
  };
  return { kv, written: () => writes };
}

function recoveryOf(kv: ReturnType<typeof stored>["kv"], fails = (_room: string) => false) {
  const checked: string[] = [];
  const alarms: number[] = [];
  const recovery = new PresenceRecovery({
    kv,
    arm: (at) => alarms.push(at),
    check: async (room) => {
      checked.push(room);
      if (fails(room)) throw new Error("unreachable");
    },
  });
  return { recovery, checked, alarms };
}

describe("a gateway that lost its memory", () => {
  it("knows whether it awaited somebody, and stores that once however many drop", async () => {
    const { kv, written } = stored();
    const { recovery } = recoveryOf(kv);
    for (let n = 0; n < 100; n += 1) recovery.onGrace(6_000);
    expect(written()).toBe(1);
    expect(recoveryOf(kv).recovery.wasInterrupted).toBe(true);
    await recovery.onAlarm(6_000, true);
    expect(recoveryOf(kv).recovery.wasInterrupted).toBe(true);
    await recovery.onAlarm(7_000, false);
    expect(recoveryOf(kv).recovery.wasInterrupted).toBe(false);
    expect(written()).toBe(2);
  });

  it("has every room checked once those who dropped before have had their time, some at a time", async () => {
    const { kv } = stored();
    recoveryOf(kv).recovery.onGrace(6_000);
    let fails = true;
    const { recovery, checked, alarms } = recoveryOf(kv, (room) => fails && room === "room-7");
    const rooms = Array.from({ length: 600 }, (_, n) => `room-${n}`);
    recovery.begin(rooms);
    await recovery.onAlarm(Date.now(), false);
    expect([checked.length, recovery.wasInterrupted]).toEqual([0, true]);
    const done: string[] = [];
    for (let round = 1; round <= 4; round += 1) {
      const now = Date.now() + round * 10_000;
      const before = checked.length;
      done.push(...(await recovery.onAlarm(now, false)));
      expect(checked.length - before).toBeLessThanOrEqual(250);
      if (round < 3) expect(alarms.at(-1)).toBeGreaterThan(now);
      if (round === 2) fails = false;
    }
    expect(new Set(done)).toEqual(new Set(rooms));
    expect(done).toHaveLength(600);
    expect(checked.filter((room) => room === "room-7").length).toBeGreaterThan(1);
    expect(recovery.wasInterrupted).toBe(false);
  });
});
