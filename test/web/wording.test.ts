import { describe, expect, test } from "vitest";
import {
  DEFAULT_SETTINGS,
  type SpaceResource,
  type SpaceStatus,
} from "../../src/protocol/resources.ts";
import { initialState, type PageEvent, type PageState, reduce } from "../../src/web/page-state.ts";
import { queuedMessage, submitHint, waitText, workerPill } from "../../src/web/wording.ts";

const AT = "2026-01-01T00:00:00.000Z";
const JOB = "attic.01JADE00000000000000000001";
const BUSY = "Every worker is busy.";
const resource = { ...DEFAULT_SETTINGS, name: "attic" } as SpaceResource;

let offset = 0;

function status(change: Partial<SpaceStatus>): PageEvent {
  const idle = { worker: "connected", queue_size: 0, processing: 0, estimated_wait_s: 0 } as const;
  return { kind: "status", status: { ...idle, ...change } };
}

function progress(state: "processing" | "completed"): PageEvent {
  offset += 1;
  const nothing = { estimated_remaining: null, message: null, output_path: null };
  const job = { job_id: JOB, attempt: 1, queue_position: null, offset, timestamp: AT };
  const frame = { type: "progress", status: state, progress: 0, ...nothing, ...job } as const;
  return { kind: "job.event", id: JOB, event: { ...frame, position: `e:${offset}` } };
}

function run(state: PageState, ...events: PageEvent[]): PageState {
  return events.reduce(reduce, state);
}

/** A page on an open socket that remembers the given jobs. */
function page(...ids: string[]): PageState {
  const remembered = initialState(ids.map((id) => ({ id, label: "" })));
  return reduce(remembered, { kind: "link.opened" });
}

const running = status({ processing: 1, waiting_reason: BUSY });

describe("the hint under the form", () => {
  test("says that every worker is busy while another user's job runs", () => {
    expect(submitHint(run(page(), running), resource)).toBe(BUSY);
    const two = status({ processing: 2, waiting_reason: BUSY });
    expect(submitHint(run(page(JOB), progress("processing"), two), resource)).toBe(BUSY);
  });

  test("does not say so if the worker only runs this tab's own job", () => {
    const own = run(page(JOB), progress("processing"), running);
    expect(submitHint(own, resource)).toBeNull();
    // It does not say so between the job's end and the next status either.
    const ended = run(own, progress("completed"));
    expect(submitHint(ended, resource)).toBeNull();
    expect(submitHint(run(ended, status({})), resource)).toBeNull();
    const others = status({ processing: 1, waiting_reason: BUSY });
    expect(submitHint(run(ended, others), resource)).toBe(BUSY);
  });

  test("does not say so if the status arrives before the answer to the submit", () => {
    const early = run(page(), running);
    const taken = reduce(early, { kind: "job.attached", job: { id: JOB, label: "a cat" } });
    expect(submitHint(taken, resource)).toBeNull();
  });

  test("says why jobs wait, including this tab's own", () => {
    const waiting = status({ processing: 1, queue_size: 1, waiting_reason: BUSY });
    expect(submitHint(run(page(JOB), waiting), resource)).toBe(BUSY);
    const reason = "No connected worker has gpu.";
    const lacking = status({ queue_size: 1, waiting_reason: reason });
    expect(submitHint(run(page(JOB), lacking), resource)).toBe(reason);
  });

  test("says that no worker is connected, whatever is running", () => {
    const gone = status({ worker: "disconnected", processing: 1 });
    expect(submitHint(run(page(JOB), gone), resource)).toContain("refuses jobs");
  });
});

const idle: SpaceStatus = {
  worker: "connected",
  queue_size: 0,
  processing: 0,
  estimated_wait_s: 0,
};

describe("a worker of which nothing is heard", () => {
  const reason = "The worker has not been heard of for 18 s.";
  const silent = { processing: 1, worker_silent_s: 18, waiting_reason: reason };

  test("is not shown as connected", () => {
    expect(workerPill(idle).text).toBe("Connected");
    expect(workerPill({ ...idle, ...silent })).toEqual({
      state: "reconnecting",
      text: "Not heard of for 18 s",
    });
    expect(workerPill({ ...idle, ...silent, worker: "draining" }).text).toBe("Draining");
  });

  test("is mentioned under the form even if it runs this tab's own job", () => {
    expect(submitHint(run(page(JOB), progress("processing"), status(silent)), resource)).toBe(
      reason,
    );
    expect(submitHint(run(page(JOB), progress("processing"), running), resource)).toBeNull();
  });
});

test("the wait for a new job is none, a time, unknown, or not shown without a worker", () => {
  const wait = (estimated_wait_s: number | null) => waitText({ ...idle, estimated_wait_s });
  expect([0, 0.1, 27.4, 95, null].map(wait)).toEqual([
    "none",
    "under 1 s",
    "about 27 s",
    "about 1 min 35 s",
    "unknown",
  ]);
  expect(waitText({ ...idle, worker: "disconnected", estimated_wait_s: null })).toBeUndefined();
  expect(waitText(null)).toBeUndefined();
});

describe("a job that waits", () => {
  const queued = (message: string | null) => ({ status: "queued", position: 1, message }) as const;
  const silent = { ...idle, waiting_reason: "The worker has not been heard of for 18 s." };

  test("shows the space's reason of now instead of the one that the page got with the job", () => {
    const job = { attempt: 0, phase: queued(BUSY) };
    expect(queuedMessage(job, { ...idle, waiting_reason: BUSY })).toBe(BUSY);
    expect(queuedMessage(job, silent)).toBe(silent.waiting_reason);
    expect(queuedMessage(job, idle)).toBe(BUSY);
    expect(queuedMessage(job, null)).toBe(BUSY);
    expect(queuedMessage({ attempt: 0, phase: queued(null) }, silent)).toBeNull();
  });

  test("shows why it is queued again, whatever the space says", () => {
    const again = { attempt: 1, phase: queued("oom: no room (tried again in 2 s)") };
    expect(queuedMessage(again, silent)).toBe("oom: no room (tried again in 2 s)");
  });
});
