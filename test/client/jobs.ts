import type { JobResource } from "../../src/protocol/resources.ts";
import { AT, type Frame } from "../support/fake-subscriber-edge.ts";
import { JOB_ID } from "./start.ts";

/** Frames of one job, as the edge sends them. */
export function connection(offset: number, recovered = false, epoch = "e"): Frame {
  return { type: "connection", job_id: JOB_ID, epoch, offset, recovered, timestamp: AT };
}

export function progress(offset: number, fields: Record<string, unknown> = {}): Frame {
  return {
    type: "progress",
    job_id: JOB_ID,
    status: "processing",
    progress: 0,
    estimated_remaining: null,
    message: null,
    output_path: null,
    queue_position: null,
    attempt: 1,
    offset,
    timestamp: AT,
    ...fields,
  };
}

export function output(offset: number, delta: unknown, attempt = 1): Frame {
  return { type: "output", job_id: JOB_ID, attempt, delta, offset, timestamp: AT };
}

export function gap(offset: number): Frame {
  return { type: "gap", job_id: JOB_ID, offset, timestamp: AT };
}

export function completed(offset: number, result: unknown): Frame {
  return progress(offset, { status: "completed", progress: 100, result });
}

export function jobResource(fields: Partial<JobResource> = {}): JobResource {
  return {
    id: JOB_ID,
    space: "demo",
    status: "queued",
    progress: 0,
    message: null,
    estimated_remaining: null,
    queue_position: 1,
    attempt: 0,
    input: {},
    files: [],
    outputs: [],
    output: null,
    output_truncated: false,
    result: null,
    error: null,
    user: null,
    priority: 0,
    created_at: AT,
    updated_at: AT,
    started_at: null,
    completed_at: null,
    worker: null,
    metrics: null,
    cached: false,
    urls: { self: "/s", events: "/e", ws: "/w", cancel: "/c" },
    ...fields,
  };
}
