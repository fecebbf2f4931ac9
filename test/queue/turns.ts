import { expect } from "vitest";
import type { Job, ProcessingJob } from "../../src/queue/job.ts";
import type { Checks, SpaceModel } from "./space-model.ts";

/** Fails if a job goes before an older one of its user, priority and class that might have been dispatched. */
export function firstInFirstOut({ now }: SpaceModel, jobs: ProcessingJob[], line: Job[]): void {
  const gone = new Set<string>();
  for (const job of jobs) {
    gone.add(job.ulid);
    const older = line.filter(
      (other) =>
        other.status === "queued" &&
        other.availableAt <= now &&
        isOfSameLine(other, job) &&
        other.party === job.party &&
        other.ulid < job.ulid,
    );
    expect(older.filter(({ ulid }) => !gone.has(ulid))).toEqual([]);
  }
}

function isOfSameLine(a: Job, b: Job): boolean {
  return a.priority === b.priority && a.requires.join() === b.requires.join();
}

/**
 * A job waits for one job of each other user, one more for each job of its own user that waited before it, and one
 * more if a round had just begun.
 */
const ALLOWANCE = 2;

/** Fails if a job waits for more jobs of another user than it should. Jobs that are tried again are counted once. */
export function takingTurns(): Checks {
  /** For each job that waits: how many of its user waited before it, and who has been dispatched since. */
  const waits = new Map<string, { own: number; passedBy: Map<string | null, number> }>();
  const dispatchedBefore = new Set<string>();
  return {
    dispatched: (space, jobs, line) => {
      for (const job of line) {
        if (waits.has(job.ulid)) continue;
        const own = line.filter(
          ({ party, priority, ulid }) =>
            party === job.party && priority === job.priority && ulid < job.ulid,
        );
        waits.set(job.ulid, { own: own.length, passedBy: new Map() });
      }
      const mixed = usersOfBothClasses(space);
      const waiting = new Set(line.map(({ ulid }) => ulid));
      for (const job of jobs) {
        waiting.delete(job.ulid);
        if (dispatchedBefore.has(job.ulid)) continue;
        dispatchedBefore.add(job.ulid);
        for (const other of line) {
          const wait = waits.get(other.ulid);
          if (!wait || !waiting.has(other.ulid) || other.party === job.party) continue;
          // A user's jobs of all classes have their turns one after the other: see decision 0049.
          if (!isOfSameLine(other, job) || mixed.has(other.party) || mixed.has(job.party)) continue;
          const count = (wait.passedBy.get(job.party) ?? 0) + 1;
          wait.passedBy.set(job.party, count);
          if (dispatchedBefore.has(other.ulid)) continue;
          expect(count).toBeLessThanOrEqual(wait.own + ALLOWANCE);
        }
      }
    },
  };
}

function usersOfBothClasses(space: SpaceModel): Set<string | null> {
  const classes = new Map<string | null, string>();
  const mixed = new Set<string | null>();
  for (const [ulid, party] of space.parties) {
    const of = space.work.get(ulid)?.requires.join() ?? "";
    if ((classes.get(party) ?? of) !== of) mixed.add(party);
    classes.set(party, of);
  }
  return mixed;
}
