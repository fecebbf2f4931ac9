import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import { attemptDeadline, dueAt, exceededLimit } from "../../src/queue/deadline.ts";
import { isEnded, type Job } from "../../src/queue/job.ts";
import { outputsOf } from "../../src/queue/output-files.ts";
import type { Command, Fence } from "../../src/queue/transition.ts";
import type { Moment } from "./steps.ts";

/** A promise: throws if a job's life breaks it. */
export type Promised = (moments: readonly Moment[]) => void;

/** What a job's submitter sent. */
const GIVEN = [
  ...(["ulid", "priority", "input", "files", "user"] as const),
  ...(["limits", "submitter", "createdAt"] as const),
];

/** What is true for every job, whatever happens to it. Each name continues "a job, whatever happens to it:". */
export const PROMISES: Readonly<Record<string, Promised>> = {
  "it has one end, which never changes": eachMoment(({ before, outcome }) => {
    if (isEnded(before)) expect(outcome.kind).not.toBe("applied");
  }),
  "its end is in its history once, as the last entry": eachMoment(({ after }) => {
    const ends = after.history.filter(
      ({ status }) => status !== "queued" && status !== "processing",
    );
    expect(ends.length).toBe(isEnded(after) ? 1 : 0);
    expect(after.history.at(-1)?.status).toBe(after.status);
  }),
  "frames of another attempt, worker or generation are stale, and no others (W22)": eachMoment(
    ({ before, command, outcome }) => {
      expect(outcome.kind === "stale").toBe(isLate(before, command));
    },
  ),
  "a repeated end is acknowledged again, only to the attempt and worker that reported it (W20b)":
    eachMoment(({ before, command, outcome }) => {
      if (!isEnded(before) || fenceOf(command) === null || outcome.kind === "stale") return;
      expect(outcome).toEqual({
        kind: "unchanged",
        effects: [{ type: "ack", of: command.type }],
      });
    }),
  "every result, fail and reject of the running attempt is acknowledged (W20)": eachMoment(
    ({ before, command, outcome }) => {
      if (before.status !== "processing" || isLate(before, command)) return;
      const { type } = command;
      const effects = "effects" in outcome ? outcome.effects : [];
      const acks = effects.filter((effect) => effect.type === "ack");
      const isEnd = type === "result" || type === "fail" || type === "reject";
      expect(acks).toEqual(isEnd ? [{ type: "ack", of: type }] : []);
    },
  ),
  "its changes and events have offsets from 1, in order and without a gap (C14)": wholeLife(
    (moments) => {
      const last = moments.at(-1)?.after;
      if (!last) return;
      const logged = moments.flatMap(({ outcome }) =>
        outcome.kind === "applied" ? outcome.log.map(({ offset }) => offset) : [],
      );
      const changes = last.history.map(({ offset }) => offset);
      const offsets = [...changes, ...logged].sort((a, b) => a - b);
      expect(offsets).toEqual(Array.from({ length: last.offset }, (_, index) => index + 1));
      expect([...changes].sort((a, b) => a - b)).toEqual(changes);
    },
  ),
  "its history only grows": eachMoment(({ before, after }) => {
    const same = after.history.slice(0, before.history.length);
    if (!isDeepStrictEqual(same, before.history)) expect(same).toEqual(before.history);
  }),
  "a dispatch, and nothing else, counts as an attempt, and there are never more than allowed":
    eachMoment(({ before, command, outcome, after }) => {
      const dispatched = command.type === "dispatch" && outcome.kind === "applied";
      expect(after.attempts).toBe(before.attempts + (dispatched ? 1 : 0));
      expect(after.attempts).toBeLessThanOrEqual(after.limits.maxAttempts);
    }),
  "it is dispatched only while it waits, so two attempts never run at once": eachMoment(
    ({ before, command, outcome }) => {
      if (command.type !== "dispatch") return;
      expect(outcome.kind).toBe(before.status === "queued" ? "applied" : "unchanged");
    },
  ),
  "what its submitter sent never changes, nor does the time at which it first started": eachMoment(
    ({ before, after }) => {
      for (const key of GIVEN) {
        // Thousands of histories have millions of these: `expect` alone would take most of their time.
        if (!isDeepStrictEqual(after[key], before[key])) expect(after[key]).toEqual(before[key]);
      }
      if (before.startedAt !== null) expect(after.startedAt).toBe(before.startedAt);
    },
  ),
  "no attempt inherits anything from the one before": eachMoment(({ command, outcome, after }) => {
    if (command.type !== "dispatch" || outcome.kind !== "applied") return;
    expect(after).toMatchObject({
      status: "processing",
      worker: command.worker,
      generation: command.generation,
      detachedAt: null,
      cancel: null,
      live: { progress: 0, message: null, outputs: 0, lastFrameAt: null },
    });
    expect(after).not.toHaveProperty("live.files");
  }),
  "the outputs of its attempt are counted, so that a worker that resumes sends none twice (W26)":
    wholeLife((moments) => {
      let outputs = 0;
      for (const { command, outcome, after } of moments) {
        if (outcome.kind !== "applied") continue;
        if (command.type === "dispatch") outputs = 0;
        if (command.type === "output" || command.type === "file") outputs += 1;
        if (after.status === "processing") expect(after.live.outputs).toBe(outputs);
      }
    }),
  "its outputs are those of its last attempt, in the order in which they were named (W36e, W36i)":
    wholeLife((moments) => {
      let told: string[] = [];
      for (const { command, outcome, after } of moments) {
        if (outcome.kind !== "applied") continue;
        if (command.type === "dispatch") told = [];
        for (const event of outcome.log) {
          if (event.kind !== "file" || event.preview || told.includes(event.file.id)) continue;
          told.push(event.file.id);
        }
        if (after.status === "queued") told = [];
        expect(outputsOf(after).map(({ id }) => id)).toEqual(told);
      }
    }),
  "a tick before its deadline changes nothing": eachMoment(({ before, command, now, outcome }) => {
    if (command.type !== "tick" || isEnded(before)) return;
    const due = dueAt(before);
    expect(outcome.kind).toBe(due !== null && due <= now ? "applied" : "unchanged");
  }),
  "after a tick its deadline is in the future": eachMoment(({ command, now, after }) => {
    if (command.type !== "tick" || isEnded(after)) return;
    expect(dueAt(after) ?? Number.POSITIVE_INFINITY).toBeGreaterThan(now);
  }),
  "a limit that runs out ends the attempt, or fails a queued job as expired": eachMoment(
    ({ before, command, outcome, after }) => {
      if (command.type !== "tick" || outcome.kind !== "applied") return;
      if (before.status === "processing") expect(after.status).not.toBe("processing");
      else expect(after).toMatchObject({ status: "failed", error: { code: "expired" } });
    },
  ),
  "once its cancel is requested it never goes back to the queue, and is canceled unless a result comes (W23a)":
    wholeLife((moments) => {
      for (const { before, after } of moments) {
        if (before.status !== "processing" || before.cancel === null) continue;
        expect(["processing", "canceled", "completed"]).toContain(after.status);
        if (after.status === "canceled") expect(after.reason).toBe(before.cancel.reason);
      }
    }),
  "a cancel ends it at once while it is queued; while it runs, its worker is sent one cancel (W23)":
    eachMoment(({ before, command, outcome, after }) => {
      if (command.type !== "cancel" || isEnded(before)) return;
      if (before.status === "queued") expect(after.status).toBe("canceled");
      else {
        const effects = "effects" in outcome ? outcome.effects : [];
        expect(effects.length).toBe(before.cancel === null ? 1 : 0);
      }
    }),

  "when a result is acknowledged, the job has it": eachMoment(({ before, command, after }) => {
    if (command.type !== "result" || before.status !== "processing" || isLate(before, command)) {
      return;
    }
    expect(after).toMatchObject({ status: "completed", result: command.output });
  }),

  "time in which the edge was away counts against no attempt, and its worker has its whole grace to come back (W24c)":
    eachMoment(({ before, command, now, after }) => {
      if (command.type !== "detach" || command.awayMs === undefined) return;
      if (before.status !== "processing" || after.status !== "processing") return;
      const graceMs = after.limits.reconnectGraceS * 1_000;
      const remaining = attemptDeadline(before) - (now - command.awayMs);
      expect(attemptDeadline(after) - now).toBeGreaterThanOrEqual(remaining);
      if (after.cancel !== null || remaining < 0) return;
      expect(dueAt(after)).toBe(now + graceMs);
    }),

  "time in which the edge stood still counts against no limit of an attempt (W24d)": eachMoment(
    ({ before, command, now, after }) => {
      if (command.type !== "make_up" || before.status !== "processing") return;
      expect(after.status).toBe("processing");
      if (after.status !== "processing") return;
      const remaining = attemptDeadline(before) - (now - command.awayMs);
      expect(attemptDeadline(after) - now).toBeGreaterThanOrEqual(remaining);
      if (remaining >= 0) expect(exceededLimit(after, now - 1)).toBe(null);
    },
  ),

  "nothing but a cancel cancels it": eachMoment(({ before, command, after }) => {
    const isCancelRequested = (job: Job) =>
      job.status === "canceled" || (job.status === "processing" && job.cancel !== null);
    if (isCancelRequested(after) && !isCancelRequested(before)) expect(command.type).toBe("cancel");
  }),
};

function eachMoment(check: (moment: Moment) => void): Promised {
  return (moments) => moments.forEach(check);
}

function wholeLife(check: Promised): Promised {
  return check;
}

function fenceOf(command: Command): Fence | null {
  return "fence" in command ? command.fence : null;
}

/** Whether a frame is stale by the rules of the protocol: its attempt or connection is not the current one. */
function isLate(job: Job, command: Command): boolean {
  if (command.type === "store_file") {
    return job.status !== "processing" || command.attempt !== job.attempts;
  }
  const fence = fenceOf(command);
  if (fence === null) return false;
  if (job.status === "queued" || fence.attempt !== job.attempts) return true;
  if (fence.workerId !== job.worker?.id) return true;
  if (job.status === "processing") {
    const { generation } = fence;
    return command.type === "resume" ? generation < job.generation : generation !== job.generation;
  }
  const reportedBy = job.status === "completed" ? "result" : "fail";
  return command.type !== reportedBy;
}
