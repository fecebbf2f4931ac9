import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Jobs } from "../../worker-client/jobs.ts";
import { SILENT } from "../../worker-client/log.ts";
import { NODE } from "../../worker-client/node-platform.ts";
import { JOB_ID, jobFrame } from "../support/fake-edge.ts";
import { aborted } from "./start.ts";

const HOUR_MS = 3_600_000;
/** What this machine's clock shows. */
const NOW = Date.UTC(2026, 10, 20, 12);

describe("the deadline of an attempt", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: NOW });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A worker that connects while the edge's clock shows this, and gets a job that may run for a minute. */
  function startJob(edgeNow: number) {
    const sent: { type: string; code?: string }[] = [];
    const jobs = new Jobs({
      platform: NODE,
      concurrency: 1,
      handler: async ({ signal }) => {
        throw await aborted(signal);
      },
      edgeUrl: "http://127.0.0.1:1",
      log: SILENT,
      send: (text) => sent.push(JSON.parse(text)),
      hearEdge: async () => undefined,
      onEmpty: () => {},
    });
    jobs.setEdgeTime(new Date(edgeNow));
    const deadline = new Date(edgeNow + 60_000).toISOString();
    jobs.onJob({ ...jobFrame({ deadline }), inputText: null });
    return { jobs, sent, edgeNow };
  }

  test.each([
    ["is right", 0],
    ["is hours ahead of the edge's", -5 * HOUR_MS],
    ["is hours behind the edge's", 5 * HOUR_MS],
    ["is a few seconds ahead", -2_001],
    ["is a few seconds behind", 2_001],
  ])(
    "is kept to by a worker whose clock %s, three seconds later than by the edge (W15)",
    async (_, edgeAheadMs) => {
      const { sent } = startJob(NOW + edgeAheadMs);
      await vi.advanceTimersByTimeAsync(62_999);
      expect(sent).toMatchObject([{ type: "accept" }]);
      await vi.advanceTimersByTimeAsync(1);
      expect(sent.slice(1)).toMatchObject([{ type: "fail", code: "timeout" }]);
    },
  );

  test("is not corrected by less than the edge's date can tell, two seconds", async () => {
    const { sent } = startJob(NOW - 2_000);
    await vi.advanceTimersByTimeAsync(60_999);
    expect(sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent).toHaveLength(2);
  });

  test("is corrected for the clock also when the edge names another one after a reconnect (W26b)", async () => {
    const { jobs, sent, edgeNow } = startJob(NOW - 5 * HOUR_MS);
    jobs.onDisconnect();
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    const deadline = new Date(edgeNow + HOUR_MS + 30_000).toISOString();
    const resumed = [{ job_id: JOB_ID, attempt: 1, outputs: 0, deadline }];
    const config = {
      concurrency: 1,
      job_timeout_s: 60,
      first_output_timeout_s: null,
      stall_timeout_s: null,
      reconnect_grace_s: 15,
    };
    jobs.resume({ type: "registered", generation: 2, config, resumed, dropped: [] }, 1_048_576);
    await vi.advanceTimersByTimeAsync(32_999);
    expect(sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent.slice(1)).toMatchObject([{ type: "fail", code: "timeout" }]);
  });
});
