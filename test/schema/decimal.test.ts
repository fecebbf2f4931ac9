import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseExact } from "../../src/protocol/exact-json.ts";
import { compare, decimalOf, isMultipleOf, isWhole, numberKey } from "../../src/schema/decimal.ts";

const of = (text: string) => decimalOf(parseExact(text));

/** A number as JSON has it, in any of the ways to write it, and its value × 10^60. */
const written = fc
  .tuple(fc.bigInt(-(10n ** 25n), 10n ** 25n), fc.integer({ min: -30, max: 30 }), fc.boolean())
  .map(([digits, power, isPlain]) => {
    const value = digits * 10n ** BigInt(power + 60);
    if (!isPlain || power > 0) return { text: `${digits}e${power}`, value };
    const all = String(digits < 0n ? -digits : digits).padStart(1 - power, "0");
    const at = all.length + power;
    const fraction = all.slice(at);
    const text = `${digits < 0n ? "-" : ""}${all.slice(0, at)}${fraction && `.${fraction}`}`;
    return { text, value };
  });

const UNIT = 10n ** 60n;

describe("a decimal", () => {
  it("compares with another as their values do, however they are written", () => {
    fc.assert(
      fc.property(written, written, (a, b) => {
        const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
        expect(Math.sign(compare(of(a.text), of(b.text)))).toBe(order);
        const isSame = numberKey(parseExact(a.text)) === numberKey(parseExact(b.text));
        expect(isSame).toBe(order === 0);
      }),
    );
  });

  it("is whole, or a multiple of another, as its value is", () => {
    fc.assert(
      fc.property(written, written, (a, b) => {
        expect(isWhole(of(a.text))).toBe(a.value % UNIT === 0n);
        if (b.value <= 0n) return;
        expect(isMultipleOf(of(a.text), of(b.text))).toBe(a.value % b.value === 0n);
      }),
    );
  });

  it("is a multiple of a step although binary numbers would say otherwise", () => {
    expect(isMultipleOf(of("0.3"), of("0.1"))).toBe(true);
    expect(isMultipleOf(of("1.1"), of("0.01"))).toBe(true);
    expect(isMultipleOf(of("9007199254740993"), of("2"))).toBe(false);
    expect(isMultipleOf(of("9007199254740992.0"), of("2"))).toBe(true);
    expect(isMultipleOf(of("7"), of("2.5"))).toBe(false);
  });

  it("is looked at in no time, however large it is", () => {
    const begun = performance.now();
    const huge = of("1e999999999999999999999999");
    const long = of("7".repeat(500_000));
    const tiny = of(`1e-${"9".repeat(400)}`);
    expect(isWhole(huge)).toBe(true);
    expect(isMultipleOf(huge, of("3"))).toBe(false);
    expect(isMultipleOf(huge, of("0.0004"))).toBe(true);
    expect(isMultipleOf(long, of("7"))).toBe(true);
    expect(isWhole(tiny)).toBe(false);
    expect(isMultipleOf(tiny, of("3"))).toBe(false);
    expect(compare(huge, long)).toBeGreaterThan(0);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });
});
