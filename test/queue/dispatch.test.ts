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
  it("is never a draining or a full one, and is found if there is any other", () => {
    fc.assert(
      fc.property(candidates, (workers) => {
        const chosen = chooseWorker(workers, []);
        if (chosen === null) expect(workers.filter(isFree)).toEqual([]);
        else expect(isFree(chosen)).toBe(true);
      }),
    );
  });

  it("is the least busy, and of equally busy ones the first (W33, W33a)", () => {
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

  it("is chosen so that all slots are filled before a job has to wait", () => {
    fc.assert(
      fc.property(candidates, (workers) => {
        const freeSlots = workers
          .filter(isFree)
          .reduce((sum, { slots, busy }) => sum + slots - busy, 0);
        let dispatched = 0;
        for (
          let next = chooseWorker(workers, []);
          next !== null;
          next = chooseWorker(workers, [])
        ) {
          next.busy += 1;
          dispatched += 1;
        }
        expect(dispatched).toBe(freeSlots);
      }),
    );
  });
});

describe("the slots of a worker", () => {
  it("are as many as it offers, or fewer if the space allows fewer (W11)", () => {
    expect([slotsOf(4, null), slotsOf(4, 2), slotsOf(4, 8)]).toEqual([4, 2, 4]);
  });
});
