import fc from "fast-check";
import type { BackendJob, BackendJobEvent } from "../../src/backend-job-model/backend-job.ts";
import { created, type ReportOutcome, reported } from "../../src/backend-job-model/report.ts";
import {
  type BackendReport,
  backendReport,
  createBackendJobBody,
} from "../../src/protocol/backend-jobs.ts";
import type { Json } from "../../src/protocol/codec.ts";

export const START = Date.UTC(2026, 10, 20, 10);
export const IDENTITY = { id: "render-42", epoch: "3f2a91c0", fingerprint: "f" };

/** Makes a job, with its first event. */
export function newJob(body: object = {}) {
  return created(createBackendJobBody.parse(body), IDENTITY, START);
}

/** Parses a report with the schema. */
export function reportOf(report: { type: string; [field: string]: Json }): BackendReport {
  return backendReport.parse(report);
}

const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const words = fc.constantFrom("one", "two", "naïve 😀");
const values = fc.constantFrom<Json>(null, 0, "text", [1, { deep: true }], { ok: 1 });

const progress = fc.record({
  type: fc.constant("progress" as const),
  status: maybe(fc.constantFrom("queued" as const, "processing" as const)),
  progress: maybe(fc.integer({ min: 0, max: 100 })),
  estimated_remaining: maybe(fc.option(fc.nat(1_000))),
  message: maybe(fc.option(words)),
  output_path: maybe(fc.option(words)),
});
const output = fc.record({ type: fc.constant("output" as const), delta: values });
const end = fc.oneof(
  fc.record({
    type: fc.constant("complete" as const),
    result: values,
    output_path: maybe(fc.option(words)),
    metrics: fc.option(fc.constant({ seconds: 2 })),
  }),
  fc.record({ type: fc.constant("fail" as const), code: words, message: words }),
  fc.record({ type: fc.constant("cancel" as const), reason: maybe(words) }),
);

export const openReports: fc.Arbitrary<BackendReport> = fc.oneof(progress, output);
export const endReports: fc.Arbitrary<BackendReport> = end;

/** Reports, each with the time that passed before it; it may be negative, because clocks are set back. */
export const histories = fc.array(
  fc.record({
    wait: fc.integer({ min: -50, max: 5_000 }),
    report: fc.oneof({ weight: 6, arbitrary: openReports }, { weight: 1, arbitrary: endReports }),
  }),
  { maxLength: 25 },
);
export type History = { wait: number; report: BackendReport }[];

/** Runs a history; `onOutcome` is called with each outcome and the job before it. */
export function play(
  history: History,
  onOutcome: (before: BackendJob, outcome: ReportOutcome, report: BackendReport) => void = () =>
    undefined,
): { job: BackendJob; events: BackendJobEvent[] } {
  const { job: first, events } = newJob({ input: { prompt: "a cat" } });
  let job: BackendJob = first;
  let now = START;
  for (const { wait, report } of history) {
    now += wait;
    const outcome = reported(job, report, now);
    onOutcome(job, outcome, report);
    if (outcome.kind === "changed") events.push(...outcome.events);
    job = outcome.job;
  }
  return { job, events };
}
