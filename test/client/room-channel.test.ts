import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wants } from "../../src/channel/filter.ts";
import { type Position, parsePosition } from "../../src/channel/position.ts";
import { type Follower, RoomModel } from "./room-model.ts";

type Step = (model: RoomModel) => void;

const TYPES = ["project.updated", "project.deleted", "pr.created"];
const filter = fc.option(fc.subarray(TYPES, { minLength: 1 }).map((types) => ({ types })));
const share = fc.double({ min: 0, max: 1, noNaN: true });
const fills = fc.boolean();
/** How many past events a subscriber begins with. */
const last = fc.constantFrom(0, 3);
const type = fc.constantFrom(...TYPES);

function stepFor(whole: boolean): fc.Arbitrary<Step> {
  const wanted = whole ? fc.constant(null) : filter;
  return fc.oneof(
    {
      weight: 8,
      arbitrary: type.map((eventType) => (model: RoomModel) => model.publish(eventType)),
    },
    { weight: 4, arbitrary: fc.constant((model: RoomModel) => model.serve()) },
    {
      weight: 4,
      arbitrary: fc.tuple(fc.nat(6), fc.boolean()).map(([count, twice]) => (model: RoomModel) => {
        model.deliver(count, twice);
      }),
    },
    { weight: 2, arbitrary: fc.constant((model: RoomModel) => model.up()) },
    { weight: 1, arbitrary: fc.constant((model: RoomModel) => model.down()) },
    { weight: 1, arbitrary: share.map((part) => (model: RoomModel) => model.trim(part)) },
    { weight: 1, arbitrary: fc.constant((model: RoomModel) => model.reset()) },
    { weight: 1, arbitrary: type.map((eventType) => (model: RoomModel) => model.lose(eventType)) },
    // Only without a filter: a filter leaves holes, so a skipped event could not be noticed.
    ...(whole
      ? [{ weight: 1, arbitrary: type.map((eventType) => (m: RoomModel) => m.skip(eventType)) }]
      : []),
    {
      weight: 2,
      arbitrary: fc.tuple(wanted, fills, last).map(([asked, fill, past]) => (model: RoomModel) => {
        model.follow(asked, undefined, fill, past);
      }),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(wanted, fills, share).map(([asked, fill, part]) => (model: RoomModel) => {
        model.follow(asked, `${model.epoch}:${Math.floor(part * model.log.length)}`, fill);
      }),
    },
  );
}

/** Checks that a subscriber's events and gaps only move forward, each from where the last one ended. */
function walk({ told }: Follower): {
  at: Position | null;
  seen: number[];
  lost: [number, number][];
} {
  let at: Position | null = null;
  let seen: number[] = [];
  let lost: [number, number][] = [];
  for (const item of told) {
    const after = item.type === "gap" ? parsePosition(item.after) : null;
    const next: Position | null = parsePosition(item.type === "gap" ? item.until : item.position);
    if (next === null) throw new Error("no position");
    if (at?.epoch === next.epoch && after?.epoch === next.epoch) {
      expect(after.offset).toBeGreaterThanOrEqual(at.offset);
    }
    if (at?.epoch !== next.epoch) {
      seen = [];
      lost = [];
    } else if (item.type !== "gap") expect(next.offset).toBeGreaterThan(at.offset);
    if (item.type !== "gap") seen.push(next.offset);
    else lost.push([after?.epoch === next.epoch ? after.offset : 0, next.offset]);
    at = next;
  }
  return { at, seen, lost };
}

describe("a room's subscribers, under random drops, reconnects, repeats, losses and trims", () => {
  for (const [title, whole] of [
    ["are told every event once and in order, or that it is lost", true],
    ["with filters of their own on one socket as well", false],
  ] as const) {
    const steps = fc.array(stepFor(whole), { maxLength: 60, size: "max" });
    test(title, async () => {
      await fc.assert(
        fc.asyncProperty(fc.boolean(), steps, async (isOwn, steps) => {
          const model = new RoomModel(isOwn);
          for (const step of steps) step(model);
          model.follow(null, undefined, false);
          model.finish();
          model.publish("project.updated");
          model.finish();
          // Events read from the history arrive asynchronously.
          await new Promise((resolve) => setImmediate(resolve));
          for (const follower of model.followers) {
            const { seen, lost } = walk(follower);
            const { start, subscriber } = follower;
            const { epoch } = model;
            expect(subscriber.cursor?.epoch).toBe(epoch);
            if (whole) expect(subscriber.cursor?.offset).toBe(model.log.length);
            const first = start?.epoch === epoch ? start.offset : 0;
            if (start?.epoch === epoch) {
              expect(seen.filter((offset) => offset <= first)).toEqual(follower.past);
            }
            for (const event of model.log) {
              const { offset } = event;
              if (offset <= first || !wants(follower.filter, event)) continue;
              const isLost = lost.some(([after, until]) => offset > after && offset <= until);
              expect(seen.includes(offset) || isLost, `event ${offset}`).toBe(true);
            }
          }
        }),
        { numRuns: 500 },
      );
    });
  }
});
