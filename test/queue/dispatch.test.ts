import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Candidate, chooseWorker, slotsOf } from "../../src/queue/dispatch.ts";

const candidates: fc.Arbitrary<Candidate[]> = fc.array(
  fc.record({
    id: fc.uuid(),
    slots: fc.integer({ min: 1, max: 8 }),
    busy: fc.integer({ min: 0, max: 9 }),
    load: fc.constantFrom(0, 0, 0.5, 1),
    capabilities: fc.subarray(["gpu", "audio"]).map((all) => new Set(all)),
    draining: fc.boolean(),
  }),
  { maxLength: 6 },
);

function isFree({ draining, busy, slots }: Candidate): boolean {
  return !draining && busy < slots;
}

function load({ busy, slots, load }: Candidate): number {
  return Math.max(busy / slots, load);
}

describe("the worker for the next job", () => {
  it("is never a draining or a full one, and is found where there is another", () => {
    fc.assert(
      fc.property(candidates, (workers) => {
        const chosen = chooseWorker(workers, []);
        if (chosen === null) expect(workers.filter(isFree)).toEqual([]);
        else expect(isFree(chosen)).toBe(true);
      }),
    );
  });

  it("is the least loaded, and the first of those that are alike", () => {
    fc.assert(
      fc.property(candidates, (workers) => {
        const free = workers.filter(isFree);
        const least = Math.min(...free.map(load));
        expect(chooseWorker(workers, [])).toBe(
          free.find((worker) => load(worker) === least) ?? null,
        );
      }),
    );
  });

  it("is so chosen that all slots fill before a job has to wait", () => {
    fc.assert(
      fc.property(candidates, (workers) => {
        const room = workers.filter(isFree).reduce((sum, { slots, busy }) => sum + slots - busy, 0);
        let dispatched = 0;
        for (
          let next = chooseWorker(workers, []);
          next !== null;
          next = chooseWorker(workers, [])
        ) {
          next.busy += 1;
          dispatched += 1;
        }
        expect(dispatched).toBe(room);
      }),
    );
  });
});

describe("the slots of a worker", () => {
  it("are what it offers, or fewer where the space allows fewer", () => {
    expect([slotsOf(4, null), slotsOf(4, 2), slotsOf(4, 8)]).toEqual([4, 2, 4]);
  });
});
