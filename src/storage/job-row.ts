import { byteLength, type Json, type JsonObject } from "../protocol/codec.ts";
import type { FailureCode } from "../protocol/codes.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { dueAt } from "../queue/deadline.ts";
import type { EndedJob, Job, LiveProgress, StoredFile, WorkerRef } from "../queue/job.ts";
import type { OutputFile } from "../queue/output-files.ts";
import type { SqlValue } from "./sql.ts";

/** A row of `jobs`. Columns that mean nothing in the job's status are null or have their default. */
export type JobRow = {
  ulid: string;
  status: string;
  priority: number;
  input: string;
  files: string;
  user: string | null;
  party: string | null;
  round: number;
  limits: string;
  requires: string;
  cancel_on_disconnect: number;
  idempotency_key: string | null;
  fingerprint: string | null;
  cache_key: string | null;
  webhook: string | null;
  submitter: string | null;
  created_at: number;
  updated_at: number;
  attempts: number;
  started_at: number | null;
  log_offset: number;
  history: string;
  queued_at: number | null;
  queue_due_at: number | null;
  available_at: number;
  worker_id: string | null;
  worker_name: string | null;
  generation: number | null;
  dispatched_at: number | null;
  detached_at: number | null;
  away_ms: number | null;
  resumed_at: number | null;
  cancel_requested_at: number | null;
  reason: string | null;
  completed_at: number | null;
  result: string | null;
  metrics: string | null;
  cached: number;
  outputs: string | null;
  error_code: string | null;
  progress: number;
};

/** A job's class as text: jobs that require the same capabilities have the same class (decision 0015). */
export function classOf(requires: readonly string[]): string {
  return requires.length === 0 ? "" : JSON.stringify(requires);
}

/** The capabilities that the jobs of a class require. */
export function requiresOf(text: string): string[] {
  return text === "" ? [] : JSON.parse(text);
}

/** A guess of the storage that a row's small columns and its index entries take, bytes. */
export const ROW_BYTES = 500;

/** An estimate of the storage that the row of a finished job takes, bytes. */
export function rowBytesOf(job: EndedJob): number {
  const result = job.status === "completed" ? sizeOf(job.result) : 0;
  const outputs = job.outputs === undefined ? 0 : sizeOf(job.outputs);
  return ROW_BYTES + measured(job.input).bytes + sizeOf(job.files) + result + outputs;
}

/** The size of an input as it is stored, bytes. */
export function inputBytesOf(input: JsonObject): number {
  return measured(input).bytes;
}

/** Caches the size of each input, and its JSON until it is stored, so that it is written as JSON only once. */
const inputs = new WeakMap<JsonObject, { bytes: number; text: string | null }>();

function measured(input: JsonObject) {
  const known = inputs.get(input);
  if (known) return known;
  const text = JSON.stringify(input);
  const made = { bytes: byteLength(text), text };
  inputs.set(input, made);
  return made;
}

/** The JSON of an input for the row of a new job. It isn't needed again, so the cache forgets it. */
function inputText(input: JsonObject): string {
  const known = measured(input);
  const text = known.text ?? JSON.stringify(input);
  known.text = null;
  return text;
}

function sizeOf(value: Json | readonly (StoredFile | OutputFile)[]): number {
  return byteLength(JSON.stringify(value));
}

/**
 * The columns of a new row; those that are missing are null or have their default.
 *
 * @param awayMs for how long the edge was away so far, see `JobStore`
 */
export function rowOf(job: Job, awayMs: number): Partial<JobRow> {
  return { ...fixedColumns(job), ...commonColumns(job), ...statusColumns(job, awayMs) };
}

/** The columns that are set by the submit and never change. */
function fixedColumns(job: Job) {
  return {
    ulid: job.ulid,
    priority: job.priority,
    input: inputText(job.input),
    files: JSON.stringify(job.files),
    user: job.user,
    round: job.round,
    limits: JSON.stringify(job.limits),
    requires: classOf(job.requires),
    cancel_on_disconnect: job.cancelOnDisconnect ? 1 : 0,
    idempotency_key: job.idempotency?.key ?? null,
    fingerprint: job.idempotency?.fingerprint ?? null,
    cache_key: job.cacheKey,
    webhook: job.webhook === null ? null : JSON.stringify(job.webhook),
    submitter: job.submitter,
    created_at: job.createdAt,
  };
}

/** The columns that may change after the submit. */
export function changingColumns(job: Job, awayMs: number) {
  return { ...ABSENT, ...commonColumns(job), ...statusColumns(job, awayMs) };
}

function commonColumns(job: Job) {
  return {
    status: job.status,
    party: job.party,
    updated_at: job.updatedAt,
    attempts: job.attempts,
    started_at: job.startedAt,
    log_offset: job.offset,
    history: JSON.stringify(job.history),
  };
}

/** The values of the columns that mean nothing in some status. */
const ABSENT = {
  queued_at: null,
  queue_due_at: null,
  available_at: 0,
  worker_id: null,
  worker_name: null,
  generation: null,
  dispatched_at: null,
  detached_at: null,
  away_ms: null,
  resumed_at: null,
  cancel_requested_at: null,
  reason: null,
  completed_at: null,
  result: null,
  metrics: null,
  cached: 0,
  outputs: null,
  error_code: null,
  progress: 0,
} satisfies Record<string, SqlValue>;

function statusColumns(job: Job, awayMs: number): Partial<JobRow> {
  if (job.status === "queued") {
    const { queuedAt: queued_at, availableAt: available_at } = job;
    const due = dueAt(job);
    const queue_due_at = due === null ? null : due - awayMs;
    return { queued_at, queue_due_at, available_at, progress: 0 };
  }
  const worker = {
    worker_id: job.worker?.id ?? null,
    worker_name: job.worker?.name ?? null,
    generation: job.generation,
  };
  if (job.status === "processing") {
    return {
      ...worker,
      dispatched_at: job.dispatchedAt,
      detached_at: job.detachedAt,
      away_ms: job.awayMs === 0 ? null : job.awayMs,
      resumed_at: job.resumedAt,
      cancel_requested_at: job.cancel?.requestedAt ?? null,
      reason: job.cancel?.reason ?? null,
      progress: job.live.progress,
    };
  }
  const { completedAt: completed_at, dispatchedAt: dispatched_at } = job;
  const outputs = job.outputs === undefined ? null : JSON.stringify(job.outputs);
  const ended = { ...worker, completed_at, dispatched_at, outputs };
  switch (job.status) {
    case "completed": {
      const metrics = job.metrics === null ? null : JSON.stringify(job.metrics);
      const cached = job.cached ? 1 : 0;
      return { ...ended, result: JSON.stringify(job.result), metrics, cached, progress: 100 };
    }
    case "failed": {
      const { code, message } = job.error;
      return { ...ended, error_code: code, reason: message, progress: job.progress };
    }
    case "canceled":
      return { ...ended, reason: job.reason, progress: job.progress };
  }
}

/**
 * Makes a job from its row.
 *
 * @param live returns what a running attempt has reported, which is in the event log
 */
export function jobOf(row: JobRow, live: (ulid: string, attempt: number) => LiveProgress): Job {
  const input = parseExact(row.input) as JsonObject;
  inputs.set(input, { bytes: byteLength(row.input), text: null });
  const base = {
    ulid: row.ulid,
    priority: row.priority,
    input,
    files: JSON.parse(row.files),
    user: row.user,
    party: row.party,
    round: row.round,
    limits: JSON.parse(row.limits),
    requires: requiresOf(row.requires),
    cancelOnDisconnect: row.cancel_on_disconnect === 1,
    idempotency:
      row.idempotency_key === null
        ? null
        : { key: row.idempotency_key, fingerprint: row.fingerprint ?? "" },
    cacheKey: row.cache_key,
    webhook: row.webhook === null ? null : JSON.parse(row.webhook),
    submitter: row.submitter,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    attempts: row.attempts,
    startedAt: row.started_at,
    offset: row.log_offset,
    history: JSON.parse(row.history),
  };
  const worker: WorkerRef | null =
    row.worker_id === null ? null : { id: row.worker_id, name: row.worker_name };
  const { status } = row;
  if (status === "queued") {
    const queuedAt = row.queued_at ?? row.created_at;
    return { ...base, status, queuedAt, availableAt: row.available_at };
  }
  if (status === "processing") {
    const requestedAt = row.cancel_requested_at;
    const reported = live(row.ulid, row.attempts);
    return {
      ...base,
      // The log may be newer: the row isn't written if only the log grew.
      updatedAt: Math.max(row.updated_at, reported.lastFrameAt ?? 0),
      status,
      startedAt: row.started_at ?? row.created_at,
      worker: worker ?? { id: "", name: null },
      generation: row.generation ?? 0,
      dispatchedAt: row.dispatched_at ?? row.updated_at,
      detachedAt: row.detached_at,
      awayMs: row.away_ms ?? 0,
      resumedAt: row.resumed_at,
      cancel: requestedAt === null ? null : { requestedAt, reason: row.reason ?? "" },
      live: reported,
    };
  }
  const { generation, progress, dispatched_at: dispatchedAt } = row;
  const completedAt = row.completed_at ?? row.updated_at;
  const outputs = row.outputs === null ? {} : { outputs: JSON.parse(row.outputs) };
  const ended = { ...base, ...outputs, completedAt, dispatchedAt, worker, generation };
  if (status === "completed") {
    const metrics = metricsOf(row.metrics);
    const cached = row.cached === 1;
    return { ...ended, status, result: parseExact(row.result ?? "null"), metrics, cached };
  }
  const reason = row.reason ?? "";
  if (status === "canceled") return { ...ended, status, reason, progress };
  const error = { code: row.error_code as FailureCode, message: reason };
  return { ...ended, status: "failed", error, progress };
}

function metricsOf(text: string | null): JsonObject | null {
  return text === null ? null : (parseExact(text) as JsonObject);
}
