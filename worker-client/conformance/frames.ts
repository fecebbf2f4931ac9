import type { z } from "zod";
import type { JsonObject } from "../../src/protocol/codec.ts";
import {
  type EdgeFrame,
  type helloFrame,
  type JobFrame,
  type registeredFrame,
  WORKER_PROTOCOL,
} from "../../src/protocol/worker-frames.ts";

export const SPACE = "conformance";

export type HelloFrame = z.input<typeof helloFrame>;
export type RegisteredFrame = z.input<typeof registeredFrame>;
export type AttemptRef = { job_id: string; attempt: number };

/** Fields that no release of the protocol has: a worker ignores them (C1). */
const UNKNOWN_FIELDS = { from_the_future: { list: [1, "two", null], flag: true } };
const LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

export function helloOf(fields: Partial<HelloFrame> = {}): HelloFrame {
  return {
    type: "hello",
    protocol: WORKER_PROTOCOL,
    space: SPACE,
    heartbeat_s: 10,
    lease_s: 30,
    max_frame_bytes: 1_048_576,
    batch: false,
    unannounced_bytes: 65_536,
    ...UNKNOWN_FIELDS,
    ...fields,
  };
}

export function registeredOf(fields: Partial<RegisteredFrame> = {}): RegisteredFrame {
  return { type: "registered", generation: 1, config, resumed: [], dropped: [], ...fields };
}

const config = {
  concurrency: 1,
  job_timeout_s: 120,
  first_output_timeout_s: null,
  stall_timeout_s: null,
  reconnect_grace_s: 15,
  ...UNKNOWN_FIELDS,
};

export const CONFIG: EdgeFrame = { type: "config", config: { ...config, job_timeout_s: 300 } };

export function jobOf(input: JsonObject, fields: Partial<JobFrame> & JsonObject = {}): JobFrame {
  const now = Date.now();
  return {
    type: "job",
    job_id: `${SPACE}.${randomUlid()}`,
    attempt: 1,
    input,
    files: [],
    priority: 0,
    deadline: new Date(now + 120_000).toISOString(),
    created_at: new Date(now).toISOString(),
    user: null,
    ...UNKNOWN_FIELDS,
    ...fields,
  };
}

export function refOf({ job_id, attempt }: AttemptRef): AttemptRef {
  return { job_id, attempt };
}

export function isAbout(frame: object, ref: AttemptRef): boolean {
  const { job_id, attempt } = frame as Partial<AttemptRef>;
  return job_id === ref.job_id && attempt === ref.attempt;
}

export function fromNow(seconds: number): string {
  return new Date(Date.now() + seconds * 1_000).toISOString();
}

function randomUlid(): string {
  const letters = Array.from({ length: 25 }, () => LETTERS[Math.floor(Math.random() * 32)]);
  return `0${letters.join("")}`;
}
