import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BackendJob, isOver } from "../../src/backend-job-model/backend-job.ts";
import { reported } from "../../src/backend-job-model/report.ts";
import type { Json } from "../../src/protocol/codec.ts";
import {
  endReports,
  type History,
  histories,
  newJob,
  openReports,
  play,
  reportOf,
  START,
} from "./example.ts";

function always(holds: (history: History) => void): void {
  fc.assert(fc.property(histories, holds), { numRuns: 500 });
}

describe("a job whose progress its backend reports", () => {
  it("is queued when it is made, with the first event of its log", () => {
    const { job, events } = newJob({ message: "in line", user: "ann" });
    expect(job).toMatchObject({ status: "queued", offset: 1, attempts: 0, message: "in line" });
    expect(events).toMatchObject([{ kind: "progress", offset: 1, status: "queued", at: START }]);
  });

  it("has a log without gaps that ends with the job's offset (C14)", () => {
    always((history) => {
      const { job, events } = play(history);
      expect(events.map(({ offset }) => offset)).toEqual(events.map((_, index) => index + 1));
      expect(job.offset).toBe(events.length);
    });
  });

  it("ends once, and later reports change nothing (B4)", () => {
    always((history) => {
      const { job, events } = play(history, (before, outcome) => {
        if (!isOver(before)) {
          expect(outcome.kind).toBe("changed");
          return;
        }
        expect(outcome.kind).not.toBe("changed");
        expect(outcome.job).toBe(before);
      });
      const ends = events.filter(({ kind }) => kind === "end");
      expect(ends).toEqual(isOver(job) ? [events.at(-1)] : []);
    });
  });

  it("recognizes a repeat of its end, and refuses any other end (B4)", () => {
    fc.assert(
      fc.property(histories, endReports, endReports, (history, end, other) => {
        const open = play(history.filter(({ report }) => isOpenReport(report))).job;
        const { job } = reported(open, end, START);
        expect(reported(job, structuredClone(end), START + 1).kind).toBe("same");
        if (other.type === "cancel") return;
        // A report that names no output path leaves the one the job has.
        const { outputPath } = job;
        const { job: otherwise } = reported({ ...open, outputPath }, other, START);
        const isSame = isDeepStrictEqual(otherwise, job);
        expect(reported(job, other, START + 1).kind).toBe(isSame ? "same" : "ended");
      }),
      { numRuns: 1000 },
    );
  });

  it("refuses progress and output after its end (B4)", () => {
    fc.assert(
      fc.property(endReports, openReports, (end, late) => {
        const { job } = reported(newJob().job, end, START);
        expect(reported(job, late, START + 1)).toEqual({ kind: "ended", job });
      }),
    );
  });

  it("stores output that comes again with its id once, also after its end (B4a)", () => {
    const output = reportOf({ type: "output", delta: "a", id: "one" });
    const { job } = reported(newJob().job, output, START);
    expect(job.offset).toBe(3);
    const later = reported(job, reportOf({ type: "output", delta: "b" }), START).job;
    expect(reported(later, output, START)).toEqual({ kind: "repeated", job: later, offset: 3 });
    const { job: over } = reported(later, reportOf({ type: "cancel" }), START);
    expect(reported(over, output, START)).toEqual({ kind: "repeated", job: over, offset: 3 });
    const other = reportOf({ type: "output", delta: "a", id: "two" });
    expect(reported(later, other, START)).toMatchObject({ kind: "changed", job: { offset: 5 } });
    expect(reported(over, other, START).kind).toBe("ended");
  });

  it("remembers the ids of its latest 16 outputs that have one (B4b)", () => {
    let { job }: { job: BackendJob } = newJob();
    const output = (n: number) => reportOf({ type: "output", delta: n, id: `output-${n}` });
    for (let n = 0; n < 17; n += 1) job = reported(job, output(n), START).job;
    expect(job.recentOutputs).toHaveLength(16);
    expect(reported(job, output(1), START).kind).toBe("repeated");
    expect(reported(job, output(0), START).kind).toBe("changed");
  });

  it("has the state of its last progress report", () => {
    always((history) => {
      const { job, events } = play(history);
      const last = events.findLast((event) => event.kind === "progress");
      if (!last || isOver(job)) return;
      const { status, progress, message, estimatedRemaining, outputPath } = last;
      expect(job).toMatchObject({ status, progress, message, estimatedRemaining, outputPath });
    });
  });

  it("keeps fields that are absent from a report, and clears fields that are null", () => {
    const fields = { message: "half way", estimated_remaining: 9, output_path: "s3://a/b" };
    const first = reported(
      newJob().job,
      reportOf({ type: "progress", progress: 50, ...fields }),
      START,
    );
    const second = reported(first.job, reportOf({ type: "progress", progress: 60 }), START);
    expect(second.job).toMatchObject({
      progress: 60,
      message: "half way",
      estimatedRemaining: 9,
      outputPath: "s3://a/b",
    });
    const third = reported(second.job, reportOf({ type: "progress", message: null }), START);
    expect(third.job).toMatchObject({ progress: 60, message: null, outputPath: "s3://a/b" });
  });

  it("starts again at nothing when it is queued again, unless the report says how far it is", () => {
    const fields = { message: "half way", estimated_remaining: 9, output_path: "s3://a/b" };
    const running = reported(
      newJob().job,
      reportOf({ type: "progress", progress: 50, ...fields }),
      START,
    ).job;
    const queued = (more: Record<string, Json> = {}) =>
      reported(running, reportOf({ type: "progress", status: "queued", ...more }), START);
    const outcome = queued();
    const started = { status: "queued", progress: 0, estimatedRemaining: null };
    const kept = { message: "half way", outputPath: "s3://a/b", attempts: 1 };
    expect(outcome.job).toMatchObject({ ...started, ...kept });
    expect(outcome).toMatchObject({ kind: "changed", events: [{ kind: "progress", ...started }] });
    expect(queued({ progress: 20, estimated_remaining: 4 }).job).toMatchObject({
      progress: 20,
      estimatedRemaining: 4,
    });
  });

  it("counts an attempt each time it becomes `processing`, and output belongs to the attempt in which it came", () => {
    always((history) => {
      const { job, events } = play(history);
      let [status, attempts] = ["queued", 0];
      for (const event of events) {
        if (event.kind === "progress") {
          if (status === "queued" && event.status === "processing") attempts += 1;
          status = event.status;
        }
        if (event.kind === "output") expect(status).toBe("processing");
        if (event.kind !== "end") expect(event.attempt).toBe(attempts);
      }
      expect(job.attempts).toBe(attempts);
      expect(job.startedAt !== null).toBe(attempts > 0);
    });
  });

  it("never goes back in time, even if the clock does", () => {
    always((history) => {
      const { job, events } = play(history);
      const times = events.map(({ at }) => at);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(job.updatedAt).toBe(times.at(-1));
    });
  });

  it("has the reason of its cancel, and 100 percent when it is completed", () => {
    const { job } = newJob();
    expect(
      reported(job, reportOf({ type: "cancel", reason: "no budget" }), START).job,
    ).toMatchObject({
      status: "canceled",
      reason: "no budget",
    });
    const complete = reportOf({ type: "complete", output_path: "s3://a/b" });
    expect(reported(job, complete, START).job).toMatchObject({
      status: "completed",
      progress: 100,
      result: null,
      outputPath: "s3://a/b",
    });
  });
});

function isOpenReport({ type }: History[number]["report"]): boolean {
  return type === "progress" || type === "output";
}
