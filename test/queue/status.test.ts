import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { covers } from "../../src/queue/dispatch.ts";
import {
  estimatedWait,
  meanAfter,
  type SpaceSnapshot,
  spaceStatusOf,
  waitingReasonFor,
} from "../../src/queue/status.ts";

type ServingWorker = SpaceSnapshot["workers"][number];

function worker(more: Partial<ServingWorker> = {}): ServingWorker {
  const idle = { slots: 1, busy: 0, load: 0, capabilities: new Set<string>(), draining: false };
  return { id: "w", name: null, ...idle, ...more };
}

function snapshot(more: Partial<SpaceSnapshot> = {}): SpaceSnapshot {
  return {
    workers: [],
    queued: 0,
    requested: [],
    processing: 0,
    detached: 0,
    meanRunS: null,
    ...more,
  };
}

const snapshots: fc.Arbitrary<SpaceSnapshot> = fc.record({
  workers: fc.array(
    fc.record({
      id: fc.uuid(),
      name: fc.option(fc.string()),
      slots: fc.integer({ min: 1, max: 4 }),
      busy: fc.integer({ min: 0, max: 5 }),
      load: fc.constantFrom(0, 0.5),
      capabilities: fc.subarray(["gpu"]).map((all) => new Set(all)),
      draining: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  queued: fc.nat(20),
  requested: fc.array(fc.subarray(["gpu"])),
  processing: fc.nat(20),
  detached: fc.nat(3),
  meanRunS: fc.option(fc.double({ min: 0, max: 1e4, noNaN: true })),
});

describe("the estimated wait of a space", () => {
  it("is unknown if no worker takes jobs", () => {
    expect(estimatedWait(snapshot({ meanRunS: 4 }), 0)).toBeNull();
    const leaving = [worker({ draining: true })];
    expect(estimatedWait(snapshot({ workers: leaving, meanRunS: 4 }), 0)).toBeNull();
  });

  it("is 0 while a slot is free for the job and every job before it", () => {
    const workers = [worker({ slots: 3, busy: 1 })];
    expect(estimatedWait(snapshot({ workers }), 1)).toBe(0);
    expect(estimatedWait(snapshot({ workers }), 2)).toBeNull();
  });

  it("is the mean run of the jobs before it, divided by all slots, to a tenth of a second", () => {
    const workers = [worker({ slots: 2, busy: 2 }), worker({ slots: 1, busy: 1 })];
    expect(estimatedWait(snapshot({ workers, meanRunS: 10 }), 0)).toBe(3.3);
    expect(estimatedWait(snapshot({ workers, meanRunS: 10 }), 5)).toBe(20);
  });

  it("never shrinks with more jobs ahead, and is never negative", () => {
    fc.assert(
      fc.property(snapshots, fc.nat(50), (now, ahead) => {
        const wait = estimatedWait(now, ahead);
        const next = estimatedWait(now, ahead + 1);
        if (wait === null) expect(next).toBeNull();
        else expect(wait).toBeGreaterThanOrEqual(0);
        if (wait !== null && next !== null) expect(next).toBeGreaterThanOrEqual(wait);
      }),
    );
  });
});

describe("the status of a space", () => {
  it.each([
    ["disconnected", "No worker is connected.", snapshot()],
    [
      "reconnecting",
      "The worker lost its connection and may come back.",
      snapshot({ detached: 1, processing: 1 }),
    ],
    [
      "draining",
      "The worker is finishing its jobs and takes no new ones.",
      snapshot({ workers: [worker({ draining: true })], detached: 1 }),
    ],
    ["connected", "Every worker is busy.", snapshot({ workers: [worker({ busy: 1 })] })],
    ["connected", undefined, snapshot({ workers: [worker({ busy: 1 }), worker()] })],
    ["connected", undefined, snapshot({ workers: [worker(), worker({ draining: true })] })],
  ])("has the worker %s and the waiting reason: %s", (state, reason, now) => {
    const status = spaceStatusOf(now);
    expect([status.worker, status.waiting_reason]).toEqual([state, reason]);
  });

  it("gives a reason exactly if a job submitted now would wait, or a waiting job has no worker that could take it", () => {
    fc.assert(
      fc.property(snapshots, (now) => {
        const serving = now.workers.filter(({ draining }) => !draining);
        const free = serving.some(({ busy, slots }) => busy < slots);
        const lacking = now.requested.some((set) => !serving.some((worker) => covers(worker, set)));
        expect(spaceStatusOf(now).waiting_reason === undefined).toBe(free && !lacking);
      }),
    );
  });

  it("gives a job that requires capabilities the reason why it waits", () => {
    const [gpu, plain] = [worker({ capabilities: new Set(["gpu"]), busy: 1 }), worker()];
    const reason = (workers: SpaceSnapshot["workers"], requires: string[]) =>
      waitingReasonFor(snapshot({ workers, requested: [["gpu"]] }), requires);
    expect(reason([plain], ["gpu"])).toBe("No connected worker has gpu.");
    expect(reason([plain, gpu], ["gpu"])).toBe("Every worker with gpu is busy.");
    expect(reason([plain, gpu], [])).toBeNull();
    expect(reason([gpu], [])).toBe("Every worker is busy.");
    expect(reason([], ["gpu"])).toBe("No worker is connected.");
  });

  it("lists the workers that have a name", () => {
    const named = [worker({ name: "A" }), worker(), worker({ name: "B" })];
    expect(spaceStatusOf(snapshot({ workers: named })).worker_name).toBe("A, B");
    expect(spaceStatusOf(snapshot({ workers: [worker()] }))).not.toHaveProperty("worker_name");
  });
});

describe("the mean run", () => {
  it("starts with the first run, and follows a change within about ten more", () => {
    expect(meanAfter(null, 4)).toBe(4);
    let mean = 100;
    for (let run = 0; run < 10; run += 1) mean = meanAfter(mean, 10);
    expect(mean).toBeLessThan(20);
  });

  it("stays between the shortest and the longest run", () => {
    const runs = fc.array(fc.double({ min: 0, max: 1e5, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(runs, (durations) => {
        const mean = durations.reduce<number | null>(meanAfter, null) ?? Number.NaN;
        expect(mean).toBeGreaterThanOrEqual(Math.min(...durations) - 1e-6);
        expect(mean).toBeLessThanOrEqual(Math.max(...durations) + 1e-6);
      }),
    );
  });
});
