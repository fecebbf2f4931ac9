import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatPosition,
  type LogBounds,
  parsePosition,
  recover,
} from "../../src/channel/position.ts";
import { anyText } from "../protocol/noise.ts";

const epochs = fc.stringMatching(/^[\w-]{1,40}$/);
const positions = fc.record({ epoch: epochs, offset: fc.nat(999_999_999_999_999) });

/** A log that used `last` offsets and dropped the first `dropped` of them. */
const logs = fc.tuple(fc.nat(30), fc.nat(30)).map(
  ([dropped, kept]): LogBounds => ({
    epoch: "now",
    last: dropped + kept,
    first: dropped + 1,
  }),
);

describe("a position", () => {
  it("is parsed as it was formatted", () => {
    fc.assert(
      fc.property(positions, (position) => {
        expect(parsePosition(formatPosition(position))).toEqual(position);
      }),
    );
  });

  it("is parsed from nothing but `<epoch>:<offset>`, and noise never throws (C14, C7)", () => {
    fc.assert(
      fc.property(anyText(), (noise) => {
        const position = parsePosition(noise);
        if (position !== null) expect(noise).toMatch(/^[\w-]{1,40}:\d{1,15}$/);
      }),
    );
  });

  it.each([
    null,
    undefined,
    "",
    "12",
    ":12",
    "a:",
    "a:-1",
    "a:1.5",
    "a:1e3",
    "a: 1",
    "a:1\n",
    "a:b:1",
    "a:9999999999999999",
    `${"a".repeat(41)}:1`,
  ])("is not parsed from %j", (text) => {
    expect(parsePosition(text)).toBeNull();
  });

  it("never loses a digit: the largest offset that is parsed is a safe integer", () => {
    expect(parsePosition(`a:${"9".repeat(15)}`)?.offset).toBe(999_999_999_999_999);
  });
});

describe("a follower", () => {
  it("recovers exactly when every event after its position is still stored (C9, C10)", () => {
    fc.assert(
      fc.property(logs, fc.nat(70), (log, offset) => {
        const isKnown = offset <= log.last;
        const missed = Array.from(
          { length: Math.max(0, log.last - offset) },
          (_, i) => offset + i + 1,
        );
        const isWhole = missed.every((event) => event >= log.first);
        expect(recover({ epoch: log.epoch, offset }, log)).toEqual(
          isKnown && isWhole ? { recovered: true, after: offset } : { recovered: false },
        );
      }),
    );
  });

  it("with a position of another epoch, or without one, gets a snapshot (C10)", () => {
    fc.assert(
      fc.property(logs, fc.nat(70), (log, offset) => {
        expect(recover(null, log)).toEqual({ recovered: false });
        expect(recover({ epoch: "before", offset }, log)).toEqual({ recovered: false });
      }),
    );
  });

  it("that saw everything recovers even if no event is stored any more", () => {
    const log = { epoch: "now", last: 7, first: 8 };
    expect(recover({ epoch: "now", offset: 7 }, log)).toEqual({ recovered: true, after: 7 });
    expect(recover({ epoch: "now", offset: 6 }, log)).toEqual({ recovered: false });
  });
});
