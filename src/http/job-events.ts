import { parseAccept } from "hono/utils/accept";
import { z } from "zod";
import type { Caller } from "../auth/caller.ts";
import { parsePosition } from "../channel/position.ts";
import { jobResource } from "../protocol/resources.ts";
import { callerOf } from "./access.ts";
import { type AppContext, callJobForText, jobParam } from "./context.ts";
import { EventStreamWriter, STREAM_HEADERS } from "./event-stream-writer.ts";
import { type FrameHandlers, followJob, type StopReading } from "./follow.ts";
import { lastFrameOf } from "./stream-end.ts";

/** Answers with server-sent events: the frames of the job's socket, each with its position as `id`. */
export async function jobEvents(c: AppContext): Promise<Response> {
  const caller = await callerOf(c);
  const job = jobParam(c);
  const current = await callJobForText(c, job.space, (stub) => stub.job(caller, job.ulid));
  if (c.req.method === "HEAD") return c.body(null, 200, STREAM_HEADERS);
  const isOver = jobResource.parse(JSON.parse(current)).completed_at !== null;
  return streamJob(c, { ...job, caller, since: sinceOf(c), isOver, cancelOnDisconnect: false });
}

/** Whether the client asks for a stream of events: it must name that type, and prefer it to JSON or like it as much. */
export function wantsStream(c: AppContext): boolean {
  const accepted = parseAccept(c.req.header("accept") ?? "");
  const qualityOf = (type: string) =>
    accepted.find((accept) => accept.type.toLowerCase() === type)?.q;
  const stream = qualityOf("text/event-stream") ?? 0;
  const json = qualityOf("application/json") ?? qualityOf("application/*") ?? qualityOf("*/*") ?? 0;
  return stream > 0 && stream >= json;
}

/** The position that the client of a stream names: `Last-Event-ID`, or `?since=` if that is missing or unreadable. */
export function sinceOf(c: AppContext): string | undefined {
  const lastEventId = c.req.header("last-event-id");
  return parsePosition(lastEventId) === null ? c.req.query("since") : lastEventId;
}

interface JobStreamRequest {
  space: string;
  ulid: string;
  caller: Caller;
  since?: string;
  /** The job has ended: there is nothing to stream if the client has its last event already. */
  isOver?: boolean;
  /** Whether the job is canceled if the reader leaves before the job's end (decision 0019). */
  cancelOnDisconnect: boolean;
}

export function streamJob(c: AppContext, job: JobStreamRequest): Promise<Response> {
  const { isOver = false, cancelOnDisconnect: isWatched } = job;
  return streamFrames(c, { isOver, isWatched }, (handlers) =>
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
  { isOver, isWatched = false }: { isOver: boolean; isWatched?: boolean },
  follow: (handlers: FrameHandlers) => Promise<StopReading>,
): Promise<Response> {
  const stream = new EventStreamWriter(true, isWatched);
  const { promise: opened, resolve: open } = Promise.withResolvers<boolean>();
  const handlers: FrameHandlers = {
    onFrame: (text) => {
      const frame = streamedFrame.parse(JSON.parse(text));
      stream.send(frame, text);
      if (!(isOver && frame.type === "connection" && frame.recovered)) open(true);
    },
    onEnd: (close) => {
      const lastFrame = lastFrameOf(close);
      stream.end(lastFrame);
      // If it did not end as planned, the client may lack something.
      open(lastFrame !== null);
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
