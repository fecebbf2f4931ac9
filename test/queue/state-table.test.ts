import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { Job } from "../../src/queue/job.ts";
import { type Command, transition } from "../../src/queue/transition.ts";
import { applied, FENCE, PROGRESS, queuedJob, runningJob, TICK, WORKER } from "./example.ts";
import { START } from "./steps.ts";

const CANCEL: Command = { type: "cancel", reason: "No longer wanted." };
const RESULT: Command = { type: "result", fence: FENCE, output: "done", metrics: null };
const FAIL = { type: "fail", fence: FENCE, code: "worker_error", message: "no room" } as const;
const HOLD_UP: Command = { type: "hold_up", heldUp: { until: START, bytes: 9, from: "edge" } };

const STORED = {
  folder: "f",
  id: "1",
  name: "cat.png",
  content_type: "image/png",
  size: 3,
  sha256: "",
};
const STORE_FILE: Command = { type: "store_file", attempt: FENCE.attempt, file: STORED };

/** Every command, in each of the ways that make a difference. */
const COMMANDS: Record<Command["type"], Command[]> = {
  dispatch: [{ type: "dispatch", worker: WORKER, generation: 2 }],
  answer: [{ type: "answer", deltas: [], result: "done", metrics: null }],
  accept: [{ type: "accept", fence: FENCE }],
  progress: [PROGRESS],
  output: [{ type: "output", fence: FENCE, delta: "piece" }],
  file: [{ type: "file", fence: FENCE, name: "cat.png", preview: false }],
  result: [RESULT],
  fail: [
    { ...FAIL, retryable: true },
    { ...FAIL, retryable: false },
  ],
  reject: [{ type: "reject", fence: FENCE, reason: "busy" }],
  resume: [{ type: "resume", fence: FENCE }],
  detach: [{ type: "detach" }],
  make_up: [{ type: "make_up", awayMs: 42_000 }],
  lose: [{ type: "lose", reason: "The worker left." }],
  hold_up: [HOLD_UP],
  store_file: [STORE_FILE],
  cancel: [CANCEL],
  position: [{ type: "position", position: 3 }],
  tick: [TICK],
};

const canceling = applied(runningJob(), CANCEL).job;
const detached = applied(runningJob(), { type: "detach" }).job;
const receiving = applied(runningJob(), HOLD_UP).job;
const sending = applied(runningJob(), STORE_FILE).job;

/** The columns of the table, each with jobs that stand for all there are. */
const STATES: Record<string, Job[]> = {
  queued: [queuedJob({ queueTimeoutS: 60 })],
  processing: [
    runningJob(),
    runningJob({ maxAttempts: 1 }),
    canceling,
    detached,
    receiving,
    sending,
  ],
  completed: [applied(runningJob(), RESULT).job],
  failed: [applied(runningJob(), { ...FAIL, retryable: false }).job],
  canceled: [
    applied(queuedJob(), CANCEL).job,
    applied(canceling, { ...FAIL, retryable: false }).job,
  ],
};

const RESULTS = [
  "unchanged",
  "stale",
  "no_such_file",
  "queued",
  "processing",
  "completed",
  "failed",
  "canceled",
];
const LONG_AFTER = START + 1_000_000_000;

function cellOf(jobs: readonly Job[], commands: readonly Command[]): string {
  const found = new Set<string>();
  for (const job of jobs) {
    for (const command of commands) {
      for (const now of [START, LONG_AFTER]) {
        const outcome = transition(job, command, now);
        found.add(outcome.kind === "applied" ? outcome.job.status : outcome.kind);
      }
    }
  }
  return RESULTS.filter((result) => found.has(result)).join(", ");
}

function tableOf(): string {
  const states = Object.keys(STATES);
  const rows = Object.entries(COMMANDS).map(([type, commands]) => [
    `\`${type}\``,
    ...Object.values(STATES).map((jobs) => cellOf(jobs, commands)),
  ]);
  const lines = [["command", ...states], ["", ...states].map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

describe("the table of states and commands in docs/architecture.md", () => {
  it("says what transition.ts does", async () => {
    const document = await readFile(new URL("../../docs/architecture.md", import.meta.url), "utf8");
    expect(document).toContain(tableOf());
  });
});
