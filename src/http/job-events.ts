import { z } from "zod";
import { jobResource } from "../protocol/resources.ts";
import { type AppContext, callerOf, callJobForText, jobParam } from "./context.ts";
import { EventStreamWriter, STREAM_HEADERS } from "./event-stream-writer.ts";
import { type FrameHandlers, followJob, type StopReading } from "./follow.ts";

/** Answers with server-sent events: the frames of the job's socket, each with its position as `id`. */
export async function jobEvents(c: AppContext): Promise<Response> {
  const { operator } = await callerOf(c);
  const job = jobParam(c);
  const current = await callJobForText(c, job.space, (stub) => stub.job({ operator }, job.ulid));
  if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
  const isOver = jobResource.parse(JSON.parse(current)).completed_at !== null;
  const since = c.req.header("last-event-id") ?? c.req.query("since");
  return streamJob(c, { ...job, operator, since, isOver, cancelOnDisconnect: false });
}

/** Whether the client asks for a stream of events. */
export function wantsStream(c: AppContext): boolean {
  return /\btext\/event-stream\b/i.test(c.req.header("accept") ?? "");
}

interface JobStreamRequest {
  space: string;
  ulid: string;
  operator: boolean;
  since?: string;
  /** The job has ended: there is nothing to stream if the client has its last event already. */
  isOver?: boolean;
  /** Whether the job is canceled if the reader leaves before the job's end (decision 0019). */
  cancelOnDisconnect: boolean;
}

export function streamJob(c: AppContext, job: JobStreamRequest): Promise<Response> {
  return streamFrames(c, job.isOver ?? false, (handlers) =>
    followJob(c, job, { ...job, ...handlers }),
  );
}

/** The fields that a stream needs; a frame's text is passed on unchanged. */
const streamedFrame = z.object({
  type: z.string(),
  epoch: z.string().optional(),
  offset: z.int().optional(),
  recovered: z.boolean().optional(),
  status: z.string().optional(),
});

/** Answers with the frames that `follow` reads, or with 204 if the job is over and the client has its last event. */
export async function streamFrames(
  c: AppContext,
  isOver: boolean,
  follow: (handlers: FrameHandlers) => Promise<StopReading>,
): Promise<Response> {
  const stream = new EventStreamWriter(true);
  const { promise: opened, resolve: open } = Promise.withResolvers<boolean>();
  const handlers: FrameHandlers = {
    onFrame: (text) => {
      const frame = streamedFrame.parse(JSON.parse(text));
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
  stream.onReaderLeft(() => stop("goingAway"));
  // After the end an EventSource reconnects again and again; only 204 stops it.
  if (!(await opened)) return c.body(null, 204);
  return c.body(stream.readable, 200, STREAM_HEADERS);
}
