import type { z } from "zod";
import type { Edge } from "./edge.ts";
import { segment } from "./edge.ts";
import { EdgeSocket, PROBE } from "./edge-socket.ts";
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
 * Follows a job to its end, across reconnects. Every event is delivered once and in order; events that
 * the edge no longer has are reported as a gap.
 */
export function followJob(
  edge: Edge,
  id: string,
  { since, signal }: { since?: string; signal?: AbortSignal },
  handlers: JobEventHandlers,
): Subscription {
  edge.requireWebSocket();
  const path = `/api/jobs/${segment(id)}`;
  const subscription = new OpenSubscription(edge, handlers, signal);
  if (subscription.isOver) return subscription;
  const probe = () => edge.http.call({ path, ...PROBE }, jobSchema);
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
      // A backend job (its id has no dot) can be followed before it exists, so a 404 is no refusal.
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
        else void deliverStoredEnd(edge, path, subscription, handlers, resumeFrom(cursor));
      },
    },
  );
  subscription.onStop(() => socket.close());
  return subscription;
}

/**
 * The job ended before `since`, the position that the follower resumes from, so its socket did not send the end.
 * Fetches the end over HTTP, and tries again until that succeeds or the follower is closed.
 */
async function deliverStoredEnd(
  edge: Edge,
  path: string,
  subscription: OpenSubscription,
  handlers: JobEventHandlers,
  position: string | null,
): Promise<void> {
  let error: DialoutError | null = null;
  const stop = new AbortController();
  subscription.onStop(() => stop.abort());
  const call = { path, timeout: Number.POSITIVE_INFINITY, signal: stop.signal };
  try {
    const end = endEventOf(await edge.http.call(call, jobSchema), position ?? "");
    if (!subscription.isOver) callHandler(() => handlers.onEvent(end));
  } catch (cause) {
    error = asDialoutError(cause, "unreachable");
  }
  subscription.finish(error);
}

/** Builds the job's last event from its HTTP resource. */
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
