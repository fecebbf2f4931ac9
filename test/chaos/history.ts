import type { JobResource } from "../../src/protocol/resources.ts";
import { expectedOf, type WorkInput } from "./work.ts";

/** What submitters and followers observed during a run with faults. */
export interface History {
  /** Submits that were answered with 2xx. */
  accepted: { id: string; priority: number; work: WorkInput }[];
  /** Every end of a job that was reported to a follower, in the order of the reports. */
  ends: { id: string; status: string; result: unknown }[];
  /** Every event that a follower received, over all of its connections. */
  received: { id: string; offset: number; recovered: boolean }[];
  /** The jobs as they are after the run. */
  final: Map<string, FinalJob>;
}

export type FinalJob = Pick<
  JobResource,
  "status" | "result" | "output" | "error" | "started_at" | "attempt"
>;

/** Describes each broken guarantee; empty if the run was correct. */
export function violationsOf(history: History): string[] {
  return [
    ...history.accepted.flatMap((job) => wrongEnd(job, history.final.get(job.id))),
    ...changedEnds(history),
    ...brokenOrder(history),
    ...gaps(history),
  ];
}

function wrongEnd({ id, work }: History["accepted"][number], job: FinalJob | undefined): string[] {
  if (!job) return [`${id} was accepted and is lost`];
  if (job.status !== "completed") return [`${id} is ${job.status}: ${job.error?.message ?? ""}`];
  const { output, result } = expectedOf(work);
  const wrong: string[] = [];
  if (JSON.stringify(job.result) !== JSON.stringify(result)) wrong.push(`${id} has a wrong result`);
  if (job.output !== output) wrong.push(`${id} has the output ${job.output}, not ${output}`);
  return wrong;
}

/** A reported end must never change. */
function changedEnds({ ends, final }: History): string[] {
  return ends.flatMap(({ id, status, result }) => {
    const job = final.get(id);
    const same =
      job?.status === status && JSON.stringify(job.result) === JSON.stringify(result ?? null);
    return same ? [] : [`${id} was told to be ${status} and is ${job?.status}`];
  });
}

/** Jobs of one priority must be dispatched in the order of acceptance, which is the order of their ids. */
function brokenOrder({ accepted, final }: History): string[] {
  const byPriority = Map.groupBy(accepted, ({ priority }) => priority);
  return [...byPriority.values()].flatMap((jobs) => {
    const started = jobs
      .map(({ id }) => ({ id, at: final.get(id)?.started_at ?? "" }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    return started.flatMap(({ id, at }, index) => {
      const before = started[index - 1];
      return before && before.at > at ? [`${id} started before the older ${before.id}`] : [];
    });
  });
}

/** A follower that resumes must miss no offset and receive none twice. */
function gaps({ received }: History): string[] {
  return [...Map.groupBy(received, ({ id }) => id)].flatMap(([id, events]) =>
    events.flatMap(({ offset, recovered }, index) => {
      const before = events[index - 1];
      if (!before || !recovered || offset === before.offset + 1) return [];
      return [`a follower of ${id} received ${offset} after ${before.offset}`];
    }),
  );
}
