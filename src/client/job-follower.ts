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
import {
  callHandler,
  type LinkHandlers,
  OpenSubscription,
  type Subscription,
} from "./subscription.ts";

export interface JobEventHandlers extends LinkHandlers {
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
  handlers: JobEventHandlers,
): Subscription {
  const subscription = new OpenSubscription(edge, handlers);
  const path = `/api/jobs/${segment(id)}`;
  const probe = () => edge.http.call({ path }, jobSchema);
  let cursor = cursorAt(since);
  const handleFrame = (frame: z.infer<typeof jobFrame>) => {
    const read = readJobFrame(cursor, frame);
    cursor = read.cursor;
    for (const event of read.events) {
      if (subscription.isOver) return;
      callHandler(() => handlers.onEvent(event));
      if (isEnd(event)) subscription.finish(null);
    }
  };
  const socket = new EdgeSocket(
    edge,
    {
      address: () => edge.socketAddress(`${path}/ws`, { since: resumeFrom(cursor) }),
      // A backend's job, whose id has no dot, can be followed before it is made.
      ...(id.includes(".") ? { probe } : {}),
    },
    {
      onOpen: () => subscription.link("open"),
      onDisconnect: (error) => subscription.link("lost", error),
      onFrame: (frame) => {
        const read = jobFrame.safeParse(frame);
        if (read.success) handleFrame(read.data);
      },
      onClose: (error) => {
        if (error !== null) subscription.finish(error);
        else void deliverStoredEnd(subscription, handlers, probe, resumeFrom(cursor));
      },
    },
  );
  subscription.onStop(() => socket.close());
  return subscription;
}

/** The edge is done with the job, and the end is before `since`: it is asked for. */
async function deliverStoredEnd(
  subscription: OpenSubscription,
  handlers: JobEventHandlers,
  probe: () => Promise<AnyJob>,
  position: string | null,
): Promise<void> {
  let error: DialoutError | null = null;
  try {
    const end = endEventOf(await probe(), position ?? "");
    if (!subscription.isOver) callHandler(() => handlers.onEvent(end));
  } catch (cause) {
    error = asDialoutError(cause, "unreachable");
  }
  subscription.finish(error);
}

/** A job's last event, as its resource tells it. */
function endEventOf(job: AnyJob, position: string): JobProgress {
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
