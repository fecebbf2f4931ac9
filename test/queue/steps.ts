import fc from "fast-check";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import { WEBHOOK_EVENTS } from "../../src/protocol/resources.ts";
import { dueAt } from "../../src/queue/deadline.ts";
import { type Instant, isEnded, type Job, type JobLimits } from "../../src/queue/job.ts";
import {
  type Command,
  type NewJob,
  type Outcome,
  submitted,
  transition,
} from "../../src/queue/transition.ts";
import { anyText } from "../protocol/noise.ts";

export const START: Instant = Date.UTC(2026, 10, 20);
export const ULID = "01KA7Z3QK0ABCDEFGHJKMNPQRS";

/** When a step happens: after this many milliseconds, or at, or just before, the job's deadline. */
type Wait = number | "due" | "just before due";

/** How a frame's fence differs from that of the running attempt; zeros and `false` mean that it is current. */
interface Aim {
  attempt: number;
  generation: number;
  stranger: boolean;
}

type Unfenced<C> = C extends { fence: unknown } ? Omit<C, "fence"> : C;

/** Something that happens to a job. It doesn't depend on the job's state, so that fast-check can shrink it. */
export interface Step {
  wait: Wait;
  aim: Aim;
  act: Unfenced<Command>;
}

export interface Moment {
  before: Job;
  command: Command;
  now: Instant;
  outcome: Outcome;
  after: Job;
}

/** Strings that SQLite stores unchanged: without lone halves of surrogate pairs. */
const text = anyText({ maxLength: 12 });
const name = anyText({ minLength: 1, maxLength: 6 });

/** JSON values as `JSON.parse` returns them: without `-0`, which JSON text doesn't keep. */
export const json: fc.Arbitrary<Json> = fc
  .jsonValue({ maxDepth: 2 })
  .map((value) => JSON.parse(JSON.stringify(value)));

export const jsonObject: fc.Arbitrary<JsonObject> = fc
  .dictionary(name, json, { maxKeys: 3, noNullPrototype: true })
  .map((value) => JSON.parse(JSON.stringify(value)));

const seconds = fc.integer({ min: 1, max: 60 });
const optionalSeconds = fc.option(seconds);

export const limits: fc.Arbitrary<JobLimits> = fc.record({
  queueTimeoutS: optionalSeconds,
  firstOutputTimeoutS: optionalSeconds,
  stallTimeoutS: optionalSeconds,
  jobTimeoutS: seconds,
  maxAttempts: fc.integer({ min: 1, max: 4 }),
  reconnectGraceS: fc.integer({ min: 0, max: 60 }),
});

const file = fc.record({
  field: name,
  name: text,
  content_type: text,
  size: fc.nat(),
  sha256: text,
  key: text,
});

export const newJobs: fc.Arbitrary<NewJob> = fc.record({
  ulid: fc.constant(ULID),
  priority: fc.integer({ min: -100, max: 100 }),
  input: jsonObject,
  files: fc.array(file, { maxLength: 2 }),
  user: fc.option(text),
  party: fc.option(text),
  round: fc.integer({ min: 1, max: 1_000_000 }),
  limits,
  requires: fc.uniqueArray(name, { maxLength: 2 }),
  cancelOnDisconnect: fc.boolean(),
  idempotency: fc.option(fc.record({ key: name, fingerprint: name })),
  cacheKey: fc.option(name),
  webhook: fc.option(
    fc.record({ url: name, events: fc.uniqueArray(fc.constantFrom(...WEBHOOK_EVENTS)) }),
  ),
  submitter: fc.option(name),
});

const workers = fc.constantFrom(
  { id: "worker-1", name: null },
  { id: "worker-2", name: "The \u{1f41d} one" },
);

const fileName = fc.constantFrom("a.png", "b.png", "c.png");

const acts: fc.Arbitrary<Unfenced<Command>> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("dispatch" as const),
      worker: workers,
      generation: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: "accept" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("progress" as const),
      progress: fc.integer({ min: 0, max: 1_000 }).map((tenths) => tenths / 10),
      message: fc.option(text),
      estimatedRemaining: fc.option(fc.nat()),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("output" as const), delta: json }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("store_file" as const),
      attempt: fc.constant(0),
      file: fc.record({
        folder: fc.constant("f"),
        id: fc.uuid(),
        name: fileName,
        content_type: fc.constant("image/png"),
        size: fc.nat(1_000),
        sha256: text,
      }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("file" as const),
      name: fileName,
      preview: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("result" as const),
      output: json,
      metrics: fc.option(jsonObject),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("fail" as const),
      code: fc.constantFrom("worker_error", "out_of_memory"),
      message: text,
      retryable: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("reject" as const), reason: text }) },
  { weight: 3, arbitrary: fc.constant({ type: "resume" as const }) },
  { weight: 3, arbitrary: fc.constant({ type: "detach" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("detach" as const),
      awayMs: fc.integer({ min: 1, max: 90_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("make_up" as const),
      awayMs: fc.integer({ min: 1, max: 90_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("lose" as const), reason: text }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("hold_up" as const),
      heldUp: fc.record({
        until: fc.integer({ min: START, max: START + 300_000 }),
        bytes: fc.nat(1_048_576),
        from: fc.constantFrom("worker" as const, "edge" as const),
      }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("cancel" as const), reason: text }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("position" as const),
      position: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ type: "tick" as const }) },
);

const waits: fc.Arbitrary<Wait> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0, 1, 500) },
  { weight: 2, arbitrary: fc.nat(30_000) },
  { weight: 1, arbitrary: fc.constantFrom("due" as const, "just before due" as const) },
);

const aims: fc.Arbitrary<Aim> = fc.oneof(
  { weight: 5, arbitrary: fc.constant({ attempt: 0, generation: 0, stranger: false }) },
  {
    weight: 2,
    arbitrary: fc.record({
      attempt: fc.constantFrom(0, 0, -1, 1),
      generation: fc.constantFrom(0, 0, -1, 1),
      stranger: fc.constantFrom(false, false, true),
    }),
  },
);

const step: fc.Arbitrary<Step> = fc.record({ wait: waits, aim: aims, act: acts });

export const lives: fc.Arbitrary<Step[]> = fc.array(step, { maxLength: 40, size: "max" });

/** Makes a job and applies the steps to it, one after the other. */
export function* play(
  newJob: NewJob,
  steps: readonly Step[],
  machine: typeof transition = transition,
): Generator<Moment> {
  let before: Job = submitted(newJob, START);
  let now = START;
  for (const { wait, aim, act } of steps) {
    now = Math.max(now, instantOf(wait, before, now));
    const command = aimed(act, aim, before);
    const outcome = machine(deeplyFrozen(before), command, now);
    const after: Job = outcome.kind === "applied" ? outcome.job : before;
    yield { before, command, now, outcome, after };
    before = after;
  }
}

function instantOf(wait: Wait, job: Job, now: Instant): Instant {
  if (typeof wait === "number") return now + wait;
  const due = isEnded(job) ? null : dueAt(job);
  if (due === null) return now;
  return wait === "due" ? due : due - 1;
}

function aimed(act: Unfenced<Command>, aim: Aim, job: Job): Command {
  const generation = job.status === "queued" ? 1 : (job.generation ?? 1);
  const workerId = job.status === "queued" ? "worker-1" : (job.worker?.id ?? "worker-1");
  const fence = {
    attempt: Math.max(1, job.attempts + aim.attempt),
    workerId: aim.stranger ? "a stranger" : workerId,
    generation: generation + aim.generation,
  };
  switch (act.type) {
    case "dispatch":
    case "detach":
    case "make_up":
    case "lose":
    case "hold_up":
    case "cancel":
    case "position":
    case "tick":
    case "answer":
      return act;
    case "store_file":
      return { ...act, attempt: fence.attempt };
    default:
      return { ...act, fence };
  }
}

/** Freezes a value, so that a transition that modifies its arguments throws. */
export function deeplyFrozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deeplyFrozen(inner);
  }
  return value;
}
