import { expect } from "vitest";
import { dueAt } from "../../src/queue/deadline.ts";
import { isEnded, type Job } from "../../src/queue/job.ts";
import type { Command, Fence } from "../../src/queue/transition.ts";
import type { Moment } from "./steps.ts";

/** Throws where a life breaks it. */
export type Promised = (moments: readonly Moment[]) => void;

/** What holds of any life of any job, whatever happens. */
export const PROMISES: Readonly<Record<string, Promised>> = {
  "has one end, which never changes": eachMoment(({ before, outcome }) => {
    if (isEnded(before)) expect(outcome.kind).not.toBe("applied");
  }),
  "tells its end once, last in its history": eachMoment(({ after }) => {
    const ends = after.history.filter(
      ({ status }) => status !== "queued" && status !== "processing",
    );
    expect(ends.length).toBe(isEnded(after) ? 1 : 0);
    expect(after.history.at(-1)?.status).toBe(after.status);
  }),
  "answers frames of another attempt, worker or generation with stale, and no others": eachMoment(
    ({ before, command, outcome }) => {
      expect(outcome.kind === "stale").toBe(isLate(before, command));
    },
  ),
  "acknowledges the end it knows again, and only to the worker and attempt that told it":
    eachMoment(({ before, command, outcome }) => {
      if (!isEnded(before) || fenceOf(command) === null || outcome.kind === "stale") return;
      expect(outcome).toEqual({
        kind: "unchanged",
        effects: [{ type: "ack", of: command.type }],
      });
    }),
  "acknowledges every result, failure and refusal of the running attempt": eachMoment(
    ({ before, command, outcome }) => {
      if (before.status !== "processing" || isLate(before, command)) return;
      const { type } = command;
      const effects = outcome.kind === "stale" ? [] : outcome.effects;
      const acks = effects.filter((effect) => effect.type === "ack");
      const told = type === "result" || type === "fail" || type === "reject";
      expect(acks).toEqual(told ? [{ type: "ack", of: type }] : []);
    },
  ),
  "gives its changes and events offsets from 1, in order and without a gap": wholeLife(
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
  "only ever adds to its history": eachMoment(({ before, after }) => {
    expect(after.history.slice(0, before.history.length)).toEqual(before.history);
  }),
  "counts an attempt at its dispatch and nowhere else, and never more than are allowed": eachMoment(
    ({ before, command, outcome, after }) => {
      const dispatched = command.type === "dispatch" && outcome.kind === "applied";
      expect(after.attempts).toBe(before.attempts + (dispatched ? 1 : 0));
      expect(after.attempts).toBeLessThanOrEqual(after.limits.maxAttempts);
    },
  ),
  "is dispatched only while it waits: two attempts never run at once": eachMoment(
    ({ before, command, outcome }) => {
      if (command.type !== "dispatch") return;
      expect(outcome.kind).toBe(before.status === "queued" ? "applied" : "unchanged");
    },
  ),
  "keeps what its submitter said, and when it first began": eachMoment(({ before, after }) => {
    const { ulid, priority, input, files, user, limits, submitter, createdAt } = before;
    const given = { ulid, priority, input, files, user, limits, submitter, createdAt };
    expect(after).toMatchObject(given);
    if (before.startedAt !== null) expect(after.startedAt).toBe(before.startedAt);
  }),
  "starts every attempt with a clean slate": eachMoment(({ command, outcome, after }) => {
    if (command.type !== "dispatch" || outcome.kind !== "applied") return;
    expect(after).toMatchObject({
      status: "processing",
      worker: command.worker,
      generation: command.generation,
      detachedAt: null,
      cancel: null,
      live: { progress: 0, message: null, outputs: 0, lastFrameAt: null },
    });
  }),
  "counts the outputs of its attempt, so that a worker that returns sends none twice": wholeLife(
    (moments) => {
      let outputs = 0;
      for (const { command, outcome, after } of moments) {
        if (outcome.kind !== "applied") continue;
        if (command.type === "dispatch") outputs = 0;
        if (command.type === "output") outputs += 1;
        if (after.status === "processing") expect(after.live.outputs).toBe(outputs);
      }
    },
  ),
  "leave it as it is on every tick before the deadline": eachMoment(
    ({ before, command, now, outcome }) => {
      if (command.type !== "tick" || isEnded(before)) return;
      const due = dueAt(before);
      expect(outcome.kind).toBe(due !== null && due <= now ? "applied" : "unchanged");
    },
  ),
  "are never over after a tick": eachMoment(({ command, now, after }) => {
    if (command.type !== "tick" || isEnded(after)) return;
    expect(dueAt(after) ?? Number.POSITIVE_INFINITY).toBeGreaterThan(now);
  }),
  "end the attempt, or put the job back in the queue, when they run out": eachMoment(
    ({ before, command, outcome, after }) => {
      if (command.type !== "tick" || outcome.kind !== "applied") return;
      if (before.status === "processing") expect(after.status).not.toBe("processing");
      else expect(after).toMatchObject({ status: "failed", error: { code: "expired" } });
    },
  ),
  "never goes back to the queue, and ends canceled unless its result came first": wholeLife(
    (moments) => {
      for (const { before, after } of moments) {
        if (before.status !== "processing" || before.cancel === null) continue;
        expect(["processing", "canceled", "completed"]).toContain(after.status);
        if (after.status === "canceled") expect(after.reason).toBe(before.cancel.reason);
      }
    },
  ),
  "is over at once where it waits, and told to its worker once where it runs": eachMoment(
    ({ before, command, outcome, after }) => {
      if (command.type !== "cancel" || isEnded(before)) return;
      if (before.status === "queued") expect(after.status).toBe("canceled");
      else {
        const told = outcome.kind === "stale" ? [] : outcome.effects;
        expect(told.length).toBe(before.cancel === null ? 1 : 0);
      }
    },
  ),

  "has the result of its running attempt when that is acknowledged": eachMoment(
    ({ before, command, after }) => {
      if (command.type !== "result" || before.status !== "processing" || isLate(before, command)) {
        return;
      }
      expect(after).toMatchObject({ status: "completed", result: command.output });
    },
  ),

  "is canceled by nothing but a cancel": eachMoment(({ before, command, after }) => {
    const isAsked = (job: Job) =>
      job.status === "canceled" || (job.status === "processing" && job.cancel !== null);
    if (isAsked(after) && !isAsked(before)) expect(command.type).toBe("cancel");
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

/** By the protocol's words: whether a frame speaks of what is no longer, or never was. */
function isLate(job: Job, command: Command): boolean {
  const fence = fenceOf(command);
  if (fence === null) return false;
  if (job.status === "queued" || fence.attempt !== job.attempts) return true;
  if (fence.workerId !== job.worker?.id) return true;
  if (job.status === "processing") {
    const { generation } = fence;
    return command.type === "resume" ? generation < job.generation : generation !== job.generation;
  }
  const toldEnd = job.status === "completed" ? "result" : "fail";
  return command.type !== toldEnd;
}
