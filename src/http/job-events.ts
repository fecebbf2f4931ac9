import { jobResource } from "../protocol/resources.ts";
import { serverFrame } from "../protocol/subscriber-frames.ts";
import { type AppContext, askOfJob, callerOf, jobParam } from "./context.ts";
import { EventStream, STREAM_HEADERS } from "./event-stream.ts";
import { followJob } from "./follow.ts";

/** Server-sent events: the frames of the job's socket, with their position as id. */
export async function jobEvents(c: AppContext): Promise<Response> {
  const { operator } = callerOf(c);
  const job = jobParam(c);
  const current = await askOfJob(c, job.space, (stub) => stub.job({ operator }, job.ulid));
  if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
  const isOver = jobResource.parse(JSON.parse(current)).completed_at !== null;
  const since = c.req.header("last-event-id") ?? c.req.query("since");
  return streamJob(c, { ...job, operator, since, isOver, leaving: false });
}

/** Whether the answer is to be a stream of events. */
export function wantsStream(c: AppContext): boolean {
  return /\btext\/event-stream\b/i.test(c.req.header("accept") ?? "");
}

interface Stream {
  space: string;
  ulid: string;
  operator: boolean;
  since?: string;
  /** The job has ended: if all of it was seen there is nothing to stream. */
  isOver?: boolean;
  /** The job is canceled when the reader leaves before its end. */
  leaving: boolean;
}

export async function streamJob(c: AppContext, job: Stream): Promise<Response> {
  const stream = new EventStream(true);
  const { promise: opened, resolve: open } = Promise.withResolvers<boolean>();
  const stop = await followJob(c, job, {
    ...job,
    onFrame: (text) => {
      const frame = serverFrame.parse(JSON.parse(text));
      stream.send(frame, text);
      if (!(job.isOver && frame.type === "connection" && frame.recovered)) open(true);
    },
    onEnd: () => {
      stream.end();
      open(false);
    },
  });
  stream.onGone(() => stop("goingAway"));
  // An EventSource that has seen the end reconnects for ever unless it is told that there is no more.
  if (!(await opened)) return c.body(null, 204);
  return c.body(stream.readable, 200, STREAM_HEADERS);
}
