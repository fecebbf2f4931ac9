import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { covers } from "../../src/queue/dispatch.ts";
import type { RunningAttempt } from "../../src/queue/estimated-wait.ts";
import {
  isNews,
  meanAfter,
  type SpaceSnapshot,
  spaceStatusOf,
  waitingReasonFor,
} from "../../src/queue/status.ts";

type ServingWorker = SpaceSnapshot["workers"][number];

let generation = 0;

function worker(more: Partial<ServingWorker> = {}): ServingWorker {
  generation += 1;
  const slots = more.slots ?? 1;
  const idle = { busy: 0, load: 0, capabilities: new Set<string>(), draining: false };
  return {
    id: "w",
    generation,
    name: null,
    slots,
    offered: slots,
    silentS: null,
    ...idle,
    ...more,
  };
}

function snapshot(more: Partial<SpaceSnapshot> = {}): SpaceSnapshot {
  return {
    workers: [],
    maxWorkers: 9,
    queued: 0,
    classes: [],
    aheadButBound: 0,
    processing: 0,
    detached: 0,
    ...more,
  };
}

const NO_TIMES = { attempts: new Map<number, RunningAttempt[]>(), meanRunS: null };

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
      generation: fc.nat(),
      offered: fc.integer({ min: 1, max: 4 }),
      silentS: fc.option(fc.integer({ min: 15, max: 29 })),
    }),
    { maxLength: 3 },
  ),
  maxWorkers: fc.integer({ min: 1, max: 3 }),
  queued: fc.nat(20),
  classes: fc.array(fc.record({ requires: fc.subarray(["gpu"]), ahead: fc.nat(20) })),
  aheadButBound: fc.constant(0),
  processing: fc.nat(20),
  detached: fc.nat(3),
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
      snapshot({ workers: [worker({ draining: true, busy: 1 })], detached: 1 }),
    ],
    [
      "draining",
      "The worker takes no new jobs.",
      snapshot({ workers: [worker({ draining: true })] }),
    ],
    [
      "draining",
      "The workers are finishing their jobs and take no new ones.",
      snapshot({ workers: [worker({ draining: true, busy: 1 }), worker({ draining: true })] }),
    ],
    [
      "connected",
      "The worker has not been heard of for 18 s.",
      snapshot({ workers: [worker({ busy: 1, silentS: 18 })] }),
    ],
    [
      "connected",
      "The worker has not been heard of for 18 s.",
      snapshot({ workers: [worker({ silentS: 18 }), worker({ draining: true })] }),
    ],
    [
      "connected",
      "No worker has been heard of for 16 s.",
      snapshot({ workers: [worker({ silentS: 18 }), worker({ silentS: 16 })] }),
    ],
    [
      "connected",
      "Every worker is busy, or has not been heard of lately.",
      snapshot({ workers: [worker({ silentS: 18 }), worker({ busy: 1 })] }),
    ],
    [
      "connected",
      "Every worker is busy: this space lets each run one job at once (concurrency).",
      snapshot({ workers: [worker({ busy: 1, offered: 4 })] }),
    ],
    [
      "connected",
      "Every worker is busy: this space lets each run 2 jobs at once (concurrency).",
      snapshot({ workers: [worker({ busy: 2, slots: 2, offered: 4 }), worker({ busy: 1 })] }),
    ],
    ["connected", undefined, snapshot({ workers: [worker({ silentS: 18 }), worker()] })],
    ["connected", "Every worker is busy.", snapshot({ workers: [worker({ busy: 1 })] })],
    ["connected", undefined, snapshot({ workers: [worker({ busy: 1 }), worker()] })],
    ["connected", undefined, snapshot({ workers: [worker(), worker({ draining: true })] })],
  ])("has the worker %s and the waiting reason: %s", (state, reason, now) => {
    const status = spaceStatusOf(now, NO_TIMES);
    expect([status.worker, status.waiting_reason]).toEqual([state, reason]);
  });

  it("gives a reason exactly if a job submitted now would wait, or a waiting job has no worker that could take it", () => {
    fc.assert(
      fc.property(snapshots, (now) => {
        const serving = now.workers.filter(({ draining }) => !draining);
        const free = serving.some(({ busy, slots, silentS }) => busy < slots && silentS === null);
        const lacking = now.classes.some(
          ({ requires }) => !serving.some((worker) => covers(worker, requires)),
        );
        expect(spaceStatusOf(now, NO_TIMES).waiting_reason === undefined).toBe(free && !lacking);
      }),
      { numRuns: 1_000 },
    );
  });

  it("gives a job that requires capabilities the reason why it waits", () => {
    const [gpu, plain] = [worker({ capabilities: new Set(["gpu"]), busy: 1 }), worker()];
    const reason = (workers: SpaceSnapshot["workers"], requires: string[]) =>
      waitingReasonFor(snapshot({ workers, classes: [{ requires: ["gpu"], ahead: 1 }] }), requires);
    expect(reason([plain], ["gpu"])).toBe("No connected worker has gpu.");
    expect(reason([plain, gpu], ["gpu"])).toBe("Every worker with gpu is busy.");
    expect(reason([plain, gpu], [])).toBeNull();
    const workers = [plain, worker({ capabilities: new Set(["gpu"]) })];
    const served = snapshot({ workers, classes: [{ requires: ["gpu"], ahead: 1 }] });
    expect(spaceStatusOf(served, NO_TIMES)).not.toHaveProperty("waiting_reason");
    expect(reason([gpu], [])).toBe("Every worker is busy.");
    expect(reason([], ["gpu"])).toBe("No worker is connected.");
  });

  it("says where the worker is that a job requires, and whether another can connect", () => {
    const gpu = { capabilities: new Set(["gpu"]) };
    const reason = (workers: SpaceSnapshot["workers"], maxWorkers = 9) =>
      waitingReasonFor(snapshot({ workers, maxWorkers }), ["gpu"]);
    expect(reason([worker(), worker({ ...gpu, draining: true, busy: 1 })])).toBe(
      "The worker with gpu is finishing its jobs and takes no new ones.",
    );
    // What matters is what the worker with gpu does, not another one that leaves as well.
    const leaving = worker({ draining: true, busy: 1 });
    expect(reason([leaving, worker({ ...gpu, draining: true })])).toBe(
      "The worker with gpu takes no new jobs.",
    );
    expect(reason([leaving, worker({ draining: true })])).toBe(
      "The workers are finishing their jobs and take no new ones.",
    );
    const both = [worker({ ...gpu, draining: true }), worker({ ...gpu, draining: true })];
    expect(reason([worker(), ...both])).toBe("The workers with gpu take no new jobs.");
    expect(reason([worker(), worker({ ...gpu, silentS: 20 })])).toBe(
      "The worker with gpu has not been heard of for 20 s.",
    );
    expect(reason([worker()], 1)).toBe(
      "No connected worker has gpu, and no other worker can connect: this space takes only one (max_workers).",
    );
    expect(reason([worker(), worker()], 2)).toContain("this space takes only 2 (max_workers)");
  });

  it("tells how long nothing came from any worker that takes jobs", () => {
    const silence = (...workers: ServingWorker[]) =>
      spaceStatusOf(snapshot({ workers }), NO_TIMES).worker_silent_s;
    expect(silence(worker({ silentS: 22 }), worker({ silentS: 17 }))).toBe(17);
    expect(silence(worker({ silentS: 22 }), worker())).toBeUndefined();
    expect(silence(worker({ silentS: 22, draining: true }))).toBeUndefined();
    expect(silence()).toBeUndefined();
  });

  it("lists the workers that have a name", () => {
    const named = [worker({ name: "A" }), worker(), worker({ name: "B" })];
    expect(spaceStatusOf(snapshot({ workers: named }), NO_TIMES).worker_name).toBe("A, B");
    expect(spaceStatusOf(snapshot({ workers: [worker()] }), NO_TIMES)).not.toHaveProperty(
      "worker_name",
    );
  });
});

/** The estimate of a space whose workers run jobs that have so many seconds left. */
function waitOf(
  workers: (Partial<ServingWorker> & { left: number[] })[],
  classes: SpaceSnapshot["classes"] = [],
): number | null {
  const attempts = new Map<number, RunningAttempt[]>();
  const present = workers.map(({ left, ...more }) => {
    const made = worker({ slots: 1, ...more, busy: left.length });
    attempts.set(
      made.generation,
      left.map((remainingS) => {
        return { ranS: 0, report: { agoS: 0, progress: 0, remainingS }, limitS: 999 };
      }),
    );
    return made;
  });
  const times = { attempts, meanRunS: 10 };
  return spaceStatusOf(snapshot({ workers: present, classes }), times).estimated_wait_s;
}

describe("the estimated wait of a space", () => {
  it("counts only workers that take jobs and were heard of", () => {
    expect(waitOf([{ left: [27] }])).toBe(27);
    expect(waitOf([{ left: [27] }, { left: [], draining: true }])).toBe(27);
    expect(waitOf([{ left: [27] }, { left: [], silentS: 20 }])).toBe(27);
    expect(waitOf([{ left: [], silentS: 20 }])).toBeNull();
    expect(waitOf([{ left: [3], draining: true }])).toBeNull();
    expect(waitOf([])).toBeNull();
  });

  it("counts the waiting jobs that one of these workers could take", () => {
    const gpu = { capabilities: new Set(["gpu"]) };
    const classes = [
      { requires: [], ahead: 1 },
      { requires: ["gpu"], ahead: 2 },
    ];
    expect(waitOf([{ left: [27] }], classes)).toBe(37);
    expect(waitOf([{ left: [27], ...gpu }], classes)).toBe(57);
    expect(waitOf([{ left: [27] }, { left: [], ...gpu, silentS: 20 }], classes)).toBe(37);
  });
});

describe("whether a status is news", () => {
  const at = (ms: number, wait: number | null, more: object = {}) => {
    const counts = { queue_size: 0, processing: 1 };
    const status = { worker: "connected" as const, ...counts, estimated_wait_s: wait, ...more };
    return { status, at: ms };
  };

  it("it is if anything but the estimate has changed, or whether a place is free or the wait is known", () => {
    expect(isNews(at(0, 9), at(0, 9, { queue_size: 1 }))).toBe(true);
    expect(isNews(at(0, 9), at(0, 9, { waiting_reason: "Every worker is busy." }))).toBe(true);
    for (const wait of [null, 0]) {
      expect(isNews(at(0, 0.1), at(0, wait))).toBe(true);
      expect(isNews(at(0, wait), at(0, 0.1))).toBe(true);
      expect(isNews(at(0, wait), at(60_000, wait))).toBe(false);
    }
  });

  it("it is if the predicted start has moved, but while it only comes nearer not before five seconds (S19d)", () => {
    expect(isNews(at(0, 27), at(2_000, 25))).toBe(false);
    expect(isNews(at(0, 27), at(4_900, 22.5))).toBe(false);
    expect(isNews(at(0, 27), at(5_000, 22))).toBe(true);
    expect(isNews(at(0, 27), at(1_000, 20))).toBe(true);
    expect(isNews(at(0, 3), at(100, 27))).toBe(true);
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
