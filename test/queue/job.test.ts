import { describe, expect, it } from "vitest";
import type { Json } from "../../src/protocol/codec.ts";
import { type Job, jobOutput, type LogEvent } from "../../src/queue/job.ts";
import { applied, dispatchOver, runningJob } from "./example.ts";

/** A log with these pieces, each of an attempt, and a report after each. */
function logOf(...pieces: [attempt: number, delta: Json][]): LogEvent[] {
  return pieces.flatMap(([attempt, delta], index): LogEvent[] => {
    const at = { offset: 2 * index + 3, at: index, attempt };
    const state = { progress: 5, message: null, estimatedRemaining: null };
    return [
      { kind: "output", ...at, delta },
      { kind: "progress", ...at, offset: at.offset + 1, ...state },
    ];
  });
}

function inSecondAttempt(): Job {
  const queued = applied(runningJob(), { type: "lose", reason: "It left." }).job;
  return applied(queued, dispatchOver(2)).job;
}

describe("the output of a job", () => {
  it("is one text if every piece is text, otherwise the list of its pieces", () => {
    expect(jobOutput(runningJob(), logOf([1, "a "], [1, ""], [1, "cat"]))).toBe("a cat");
    expect(jobOutput(runningJob(), logOf([1, "a"], [1, 2], [1, null]))).toEqual(["a", 2, null]);
    expect(jobOutput(runningJob(), logOf([1, { text: "a" }]))).toEqual([{ text: "a" }]);
  });

  it("is nothing before the first piece, which is not the same as an empty text", () => {
    const position: LogEvent = { kind: "position", offset: 2, at: 0, position: 1 };
    expect(jobOutput(runningJob(), [position])).toBeNull();
    expect(jobOutput(runningJob(), logOf([1, ""]))).toBe("");
  });

  it("has nothing of earlier attempts", () => {
    const log = logOf([1, "wrong"], [2, "right"]);
    expect(jobOutput(inSecondAttempt(), log)).toBe("right");
    expect(jobOutput(inSecondAttempt(), logOf([1, "wrong"]))).toBeNull();
  });
});
