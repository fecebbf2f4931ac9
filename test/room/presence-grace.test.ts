import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { isDeparture, PresenceGrace } from "../../src/room/presence-grace.ts";

const GRACE_MS = LIMITS.presenceGraceMs;

function graceOf() {
  const alarms: number[] = [];
  return { alarms, grace: new PresenceGrace((endsAt) => alarms.push(endsAt)) };
}

const drops = fc.array(
  fc.record({ user: fc.constantFrom("ann", "bo", "cy"), later: fc.nat(3_000) }),
);

describe("the time that users have to come back", () => {
  it("is over five seconds after their last drop, at most a second later (R10a)", () => {
    fc.assert(
      fc.property(drops, fc.nat(1_000_000), (given, start) => {
        const { alarms, grace } = graceOf();
        const droppedAt = new Map<string, number>();
        let now = start;
        for (const { user, later } of given) {
          now += later;
          for (const over of grace.takeOver(now)) {
            const at = droppedAt.get(over) ?? Number.NaN;
            expect(now).toBeGreaterThanOrEqual(at + GRACE_MS);
            droppedAt.delete(over);
          }
          for (const [user, at] of droppedAt) {
            expect(grace.has(user)).toBe(true);
            expect(now).toBeLessThan(at + GRACE_MS + 1_000);
          }
          grace.start(user, now);
          droppedAt.set(user, now);
        }
        expect(alarms.every((at) => at % 1_000 === 0)).toBe(true);
        const first = grace.dueAt();
        expect(first === null).toBe(droppedAt.size === 0);
        if (first !== null) expect(alarms).toContain(first);
        const over: string[] = [];
        for (let due = first; due !== null; due = grace.dueAt()) over.push(...grace.takeOver(due));
        expect(over.sort()).toEqual([...droppedAt.keys()].sort());
        expect([grace.size, grace.dueAt()]).toEqual([0, null]);
      }),
    );
  });

  it("begins again, once, if the edge stood still when it ended (R10e)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3_001, max: 10_000_000 }), (awayMs) => {
        const { alarms, grace } = graceOf();
        grace.start("ann", 1_000);
        const back = 1_000 + GRACE_MS + awayMs;
        expect(grace.takeOver(back)).toEqual([]);
        expect(grace.has("ann")).toBe(true);
        expect(grace.takeOver(back + GRACE_MS - 1)).toEqual([]);
        expect(alarms.at(-1)).toBeGreaterThanOrEqual(back + GRACE_MS);
        // An edge that is always this late must not keep users for ever.
        expect(grace.takeOver(back + GRACE_MS + 1_000 + awayMs)).toEqual(["ann"]);
      }),
    );
  });

  it("needs one alarm for all who drop within the same second", () => {
    const { alarms, grace } = graceOf();
    for (let n = 0; n < 900; n += 1) grace.start(`user-${n}`, 50_001 + n);
    expect(new Set(alarms)).toEqual(new Set([56_000]));
  });

  it("is not given to who leaves on purpose (R10b)", () => {
    expect([1000, 1005, 1001, 1006, 1012, 4401].map(isDeparture)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
