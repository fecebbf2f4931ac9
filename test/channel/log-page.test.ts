import { describe, expect, it } from "vitest";
import { pageRange } from "../../src/channel/log-page.ts";

/** A log of which events 11 to 20 are left. */
const LOG = { epoch: "now", first: 11, last: 20 };

function at(offset: number, epoch = "now") {
  return { epoch, offset };
}

describe("the range of a page", () => {
  it("is everything that is left if no position is named (R18)", () => {
    expect(pageRange(null, null, LOG)).toEqual({ after: 10, before: 21, recovered: false });
  });

  it("lies between the positions (R18, R18a)", () => {
    expect(pageRange(at(12), at(15), LOG)).toEqual({ after: 12, before: 15, recovered: true });
    expect(pageRange(null, at(15), LOG)).toEqual({ after: 10, before: 15, recovered: true });
  });

  it("begins with the oldest event if those after `since` are gone, and says so (R18d)", () => {
    for (const since of [at(9), at(21), at(15, "earlier")]) {
      expect(pageRange(since, null, LOG)).toEqual({ after: 10, before: 21, recovered: false });
    }
    expect(pageRange(at(10), null, LOG)).toMatchObject({ after: 10, recovered: true });
  });

  it("is empty if `before` is of an earlier life of the room: all its events came later (R18d)", () => {
    const { after, before, recovered } = pageRange(null, at(15, "earlier"), LOG);
    expect([before - after, recovered]).toEqual([1, false]);
  });

  it("is empty if the events before `before` are gone, and says so unless there never were any (R18d)", () => {
    expect(pageRange(null, at(8), LOG)).toEqual({ after: 10, before: 11, recovered: false });
    expect(pageRange(null, at(11), LOG)).toEqual({ after: 10, before: 11, recovered: false });
    const whole = { epoch: "now", first: 1, last: 20 };
    expect(pageRange(null, at(1), whole)).toEqual({ after: 0, before: 1, recovered: true });
    expect(pageRange(null, at(0), whole)).toEqual({ after: 0, before: 1, recovered: true });
  });

  it("ends with the newest event if `before` is beyond it (R18a)", () => {
    expect(pageRange(null, at(99), LOG)).toEqual({ after: 10, before: 21, recovered: true });
  });

  it("of a room without events is empty", () => {
    const none = { epoch: "", first: 1, last: 0 };
    expect(pageRange(null, null, none)).toEqual({ after: 0, before: 1, recovered: false });
  });
});
