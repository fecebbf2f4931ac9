import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Allowances, networkOf } from "../../src/objects/allowances.ts";

const RATE = { burst: 1_000, perSecond: 10 };

describe("an allowance", () => {
  it("says truly when what was refused can be taken, and not a second too late", () => {
    const step = fc.record({ count: fc.integer({ min: 1, max: 1_000 }), ms: fc.nat(100_000) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 50 }), (steps) => {
        const allowances = new Allowances(RATE);
        let now = 0;
        for (const { count, ms } of steps) {
          now += ms;
          const waitS = allowances.take("a", count, now);
          if (waitS === 0) continue;
          if (waitS > 1) {
            expect(allowances.take("a", count, now + (waitS - 1) * 1_000 - 1)).toBeGreaterThan(0);
          }
          now += waitS * 1_000;
          expect(allowances.take("a", count, now)).toBe(0);
        }
      }),
    );
  });

  it("is each one's own, and remembers the latest 10,000", () => {
    const allowances = new Allowances(RATE);
    expect(allowances.take("first", 1_000, 0)).toBe(0);
    expect(allowances.take("second", 1_000, 0)).toBe(0);
    expect(allowances.take("first", 1, 0)).toBe(1);
    for (let n = 0; n < 9_999; n += 1) allowances.take(`other ${n}`, 1, 0);
    expect(allowances.take("second", 1, 0)).toBe(1);
    expect(allowances.take("first", 1, 0)).toBe(0);
  });
});

describe("what one client has for itself", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["unknown", "unknown"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:0DB8:0001:0002::", "2001:db8:1:2"],
    ["2001:db8::1", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
  ])("of %s is %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
