import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { framesSince, openingFrames, type ReplayableLog } from "../../src/channel/opening.ts";
import type { Position } from "../../src/channel/position.ts";

const EPOCH = "9f86d081";
const TIME = "2026-11-20T10:00:00.000Z";

/** A log of the events 1 to `last`, the first `trimmedTo` of which were dropped. */
function logOf(last: number, trimmedTo: number): ReplayableLog {
  const events = Array.from({ length: last }, (_, index) => ({ offset: index + 1 }));
  return {
    address: { job_id: "a.1" },
    epoch: EPOCH,
    last,
    trimmedTo,
    timestamp: TIME,
    eventsAfter: (offset) => events.filter((event) => event.offset > Math.max(offset, trimmedTo)),
    snapshot: () => [{ type: "gap", to: trimmedTo }, { type: "state" }],
  };
}

const logs = fc
  .tuple(fc.nat(12), fc.nat(12))
  .map(([a, b]) => ({ last: Math.max(a, b), trimmedTo: Math.min(a, b) }));

function offsetsOf(frames: object[]): unknown[] {
  return frames.map((frame) => ("offset" in frame ? frame.offset : frame));
}

function upTo(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

describe("the first frames of a follower", () => {
  it("are where it goes on and every event after its position, or the end of the log and a snapshot (C9, C10)", () => {
    fc.assert(
      fc.property(logs, fc.nat(15), ({ last, trimmedTo }, offset) => {
        const log = logOf(last, trimmedTo);
        const [connection, ...rest] = openingFrames(log, { epoch: EPOCH, offset });
        const recovered = offset >= trimmedTo && offset <= last;
        expect(connection).toEqual({
          type: "connection",
          job_id: "a.1",
          epoch: EPOCH,
          offset: recovered ? offset : last,
          recovered,
          timestamp: TIME,
        });
        if (recovered) expect(offsetsOf(rest)).toEqual(upTo(offset + 1, last));
        else expect(rest).toEqual(log.snapshot());
      }),
    );
  });

  it.each<[string, Position | null]>([
    ["has no position", null],
    ["has a position of another epoch", { epoch: "other", offset: 3 }],
  ])("are a snapshot if it %s (C10)", (_, since) => {
    const [connection, ...rest] = openingFrames(logOf(5, 2), since);
    expect(connection).toMatchObject({ offset: 5, recovered: false });
    expect(rest).toEqual([{ type: "gap", to: 2 }, { type: "state" }]);
  });
});

describe("what a follower lacks whose frames were held back when the memory was lost", () => {
  it("is every event since the last one that it was sent, or a snapshot with its gap if one of them is gone", () => {
    fc.assert(
      fc.property(logs, fc.nat(12), ({ last, trimmedTo }, sent) => {
        const sentTo = Math.min(sent, last);
        const log = logOf(last, trimmedTo);
        const frames = framesSince(log, sentTo);
        if (sentTo >= trimmedTo) expect(offsetsOf(frames)).toEqual(upTo(sentTo + 1, last));
        else expect(frames).toEqual(log.snapshot());
      }),
    );
  });
});
