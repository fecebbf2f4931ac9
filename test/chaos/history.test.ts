import { describe, expect, it } from "vitest";
import { type FinalJob, type History, violationsOf } from "./history.ts";
import { expectedOf } from "./work.ts";

const WORK = { n: 3, ms: 1, pieces: 2 };

/** The history of two jobs in a run without violations. */
function rightHistory(): History {
  const done = { status: "completed", attempt: 1, error: null, ...expectedOf(WORK) } as const;
  return {
    accepted: [
      { id: "s.1", priority: 0, work: WORK },
      { id: "s.2", priority: 0, work: WORK },
    ],
    ends: [{ id: "s.1", status: "completed", result: expectedOf(WORK).result }],
    received: [
      { id: "s.1", offset: 4, recovered: false },
      { id: "s.1", offset: 5, recovered: true },
      { id: "s.1", offset: 6, recovered: true },
    ],
    final: new Map([
      ["s.1", { ...done, started_at: "2026-01-01T00:00:01.000Z" }],
      ["s.2", { ...done, started_at: "2026-01-01T00:00:02.000Z" }],
    ]),
  };
}

function violationsAfter(plant: (history: History) => void): string {
  const history = rightHistory();
  plant(history);
  return violationsOf(history).join("; ");
}

describe("the checker of a run with faults", () => {
  it("finds nothing if nothing went wrong", () => {
    expect(violationsOf(rightHistory())).toEqual([]);
  });

  it("finds a lost job", () => {
    expect(violationsAfter(({ final }) => final.delete("s.2"))).toContain("s.2 was accepted");
  });

  it("finds a job that ended without its result, with a wrong one, or with wrong output", () => {
    const change = (patch: Partial<FinalJob>) =>
      violationsAfter(({ final }) => {
        const job = final.get("s.2");
        if (job) Object.assign(job, patch);
      });
    expect(change({ status: "failed" })).toContain("s.2 is failed");
    expect(change({ result: 9 })).toContain("s.2 has a wrong result");
    expect(change({ output: "3.0;3.0;3.1;" })).toContain("s.2 has the output 3.0;3.0;3.1;");
  });

  it("finds an end that changed after it was reported", () => {
    const told = violationsAfter(({ ends }) =>
      ends.push({ id: "s.2", status: "canceled", result: undefined }),
    );
    expect(told).toContain("s.2 was told to be canceled and is completed");
  });

  it("finds a job dispatched before an older job, but only within one priority", () => {
    const late = ({ final }: History) => {
      const job = final.get("s.1");
      if (job) job.started_at = "2026-01-01T00:00:03.000Z";
    };
    expect(violationsAfter(late)).toContain("s.2 started before the older s.1");
    const ofOther = violationsAfter((history) => {
      late(history);
      for (const job of history.accepted) if (job.id === "s.1") job.priority = 1;
    });
    expect(ofOther).toBe("");
  });

  it("finds an event that a follower missed or received twice", () => {
    const receive = (offset: number) =>
      violationsAfter(({ received }) => received.push({ id: "s.1", offset, recovered: true }));
    expect(receive(8)).toContain("received 8 after 6");
    expect(receive(6)).toContain("received 6 after 6");
    expect(receive(7)).toBe("");
  });
});
