import type { z } from "zod";
import type { Edge } from "./edge.ts";
import { segment } from "./edge.ts";
import { EdgeSocket } from "./edge-socket.ts";
import { asDialoutError, type DialoutError } from "./errors.ts";
import {
  cursorAt,
  isEnd,
  type JobEvent,
  type JobProgress,
  jobFrame,
  readJobFrame,
  resumeFrom,
} from "./job-channel.ts";
import { type AnyJob, jobSchema } from "./job-resource.ts";
import { Ending, type LinkHandlers, type Subscription, tell } from "./subscription.ts";

export interface JobSink extends LinkHandlers {
  onEvent(event: JobEvent): void;
}

/**
 * Follows a job to its end, over as many sockets as that takes. Every event is told once and in order;
 * what can't be had any more is told as a gap.
 */
export function followJob(
  edge: Edge,
  id: string,
  since: string | undefined,
  sink: JobSink,
): Subscription {
  const ending = new Ending(edge, sink);
  const path = `/api/jobs/${segment(id)}`;
  const ask = () => edge.http.call({ path }, jobSchema);
  let cursor = cursorAt(since);
  const take = (frame: z.infer<typeof jobFrame>) => {
    const read = readJobFrame(cursor, frame);
    cursor = read.cursor;
    for (const event of read.events) {
      if (ending.isOver) return;
      tell(() => sink.onEvent(event));
      if (isEnd(event)) ending.finish(null);
    }
  };
  const socket = new EdgeSocket(
    edge,
    {
      address: () => edge.socketAddress(`${path}/ws`, { since: resumeFrom(cursor) }),
      // A backend's job, whose id has no dot, can be followed before it is made.
      ...(id.includes(".") ? { ask } : {}),
    },
    {
      open: () => ending.link("open"),
      lost: (error) => ending.link("lost", error),
      frame: (frame) => {
        const read = jobFrame.safeParse(frame);
        if (read.success) take(read.data);
      },
      closed: (error) => {
        if (error !== null) ending.finish(error);
        else void settle(ending, sink, ask, resumeFrom(cursor));
      },
    },
  );
  ending.onStop(() => socket.close());
  return ending;
}

/** The edge is done with the job, and the end is before `since`: it is asked for. */
async function settle(
  ending: Ending,
  sink: JobSink,
  ask: () => Promise<AnyJob>,
  position: string | null,
): Promise<void> {
  let error: DialoutError | null = null;
  try {
    const end = endOf(await ask(), position ?? "");
    if (!ending.isOver) tell(() => sink.onEvent(end));
  } catch (cause) {
    error = asDialoutError(cause, "unreachable");
  }
  ending.finish(error);
}

/** A job's last event, as its resource tells it. */
function endOf(job: AnyJob, position: string): JobProgress {
  const { id: job_id, status, progress, estimated_remaining, message, attempt } = job;
  return {
    type: "progress",
    job_id,
    status,
    progress,
    estimated_remaining,
    message,
    output_path: "output_path" in job ? job.output_path : null,
    queue_position: job.queue_position,
    attempt,
    ...(status === "completed" ? { result: job.result } : {}),
    ...(job.error ? { error: job.error } : {}),
    offset: Number(position.split(":")[1] ?? 0),
    timestamp: job.updated_at,
    position,
  };
}
