import { z } from "zod";
import { jobResource } from "../protocol/resources.ts";
import { type AppContext, callerOf, callJobForText, jobParam } from "./context.ts";
import { EventStream, STREAM_HEADERS } from "./event-stream.ts";
import { type FrameHandlers, followJob, type StopReading } from "./follow.ts";

/** Server-sent events: the frames of the job's socket, with their position as id. */
export async function jobEvents(c: AppContext): Promise<Response> {
  const { operator } = await callerOf(c);
  const job = jobParam(c);
  const current = await callJobForText(c, job.space, (stub) => stub.job({ operator }, job.ulid));
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

export function streamJob(c: AppContext, job: Stream): Promise<Response> {
  return streamFrames(c, job.isOver ?? false, (handlers) =>
    followJob(c, job, { ...job, ...handlers }),
  );
}

/** What a stream has to know of a frame; the rest of it passes through. */
const placedFrame = z.object({
  type: z.string(),
  epoch: z.string().optional(),
  offset: z.int().optional(),
  recovered: z.boolean().optional(),
  status: z.string().optional(),
});

/** Answers with the frames that `follow` reads; a job that is over and wholly seen has none. */
export async function streamFrames(
  c: AppContext,
  isOver: boolean,
  follow: (handlers: FrameHandlers) => Promise<StopReading>,
): Promise<Response> {
  const stream = new EventStream(true);
  const { promise: opened, resolve: open } = Promise.withResolvers<boolean>();
  const handlers: FrameHandlers = {
    onFrame: (text) => {
      const frame = placedFrame.parse(JSON.parse(text));
      stream.send(frame, text);
      if (!(isOver && frame.type === "connection" && frame.recovered)) open(true);
    },
    onEnd: () => {
      stream.end();
      open(false);
    },
  };
  const stop = await follow(handlers).catch((error) => {
    stream.end();
    throw error;
  });
  stream.onGone(() => stop("goingAway"));
  // An EventSource that has seen the end reconnects for ever unless it is told that there is no more.
  if (!(await opened)) return c.body(null, 204);
  return c.body(stream.readable, 200, STREAM_HEADERS);
}
