import { LIMITS } from "../protocol/limits.ts";
import { jobResource } from "../protocol/resources.ts";
import { type ServerFrame, serverFrame } from "../protocol/subscriber-frames.ts";
import { type AppContext, askOfJob, callerOf, jobParam } from "./context.ts";
import { followJob } from "./follow.ts";

/** Proxies cut connections that are silent for about a minute. */
const KEEP_ALIVE_MS = 15_000;

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** Server-sent events: the frames of the job's socket, with their position as id. */
export async function jobEvents(c: AppContext): Promise<Response> {
  const { operator } = callerOf(c);
  const job = jobParam(c);
  const current = await askOfJob(c, job.space, (stub) => stub.job({ operator }, job.ulid));
  if (c.req.method === "HEAD") return c.body(null, 200, HEADERS);
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
  const stream = new EventStream();
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
  return c.body(stream.readable, 200, HEADERS);
}

/** The text of one client's events. */
class EventStream {
  readonly readable: ReadableStream<Uint8Array>;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly encoder = new TextEncoder();
  private readonly keepAlive: ReturnType<typeof setInterval>;
  private epoch = "";
  /** Until it is whole, a snapshot gives no id: cut short, it has to come again. */
  private snapshotUntil = 0;
  private unread = 0;
  private gone: () => void = () => undefined;

  constructor() {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.readable = readable;
    this.writer = writable.getWriter();
    this.keepAlive = setInterval(() => this.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
  }

  /** `handle` is called once nobody reads any more. */
  onGone(handle: () => void): void {
    this.gone = handle;
  }

  send(frame: ServerFrame, text: string): void {
    this.write(`${this.idOf(frame)}event: ${frame.type}\ndata: ${text}\n\n`);
  }

  end(): void {
    clearInterval(this.keepAlive);
    this.writer.close().catch(() => undefined);
  }

  private idOf(frame: ServerFrame): string {
    if (frame.type === "connection") {
      this.epoch = frame.epoch;
      this.snapshotUntil = frame.recovered ? 0 : frame.offset;
      return "";
    }
    if (!("offset" in frame)) return "";
    if (frame.type === "progress" && frame.offset >= this.snapshotUntil) this.snapshotUntil = 0;
    return this.snapshotUntil === 0 ? `id: ${this.epoch}:${frame.offset}\n` : "";
  }

  /** Who reads too slowly is cut off, and goes on where it was with its next request. */
  private write(text: string): void {
    const bytes = this.encoder.encode(text);
    this.unread += bytes.length;
    if (this.unread > LIMITS.unreadBytes) {
      this.abandon();
      return;
    }
    this.writer.write(bytes).then(
      () => {
        this.unread -= bytes.length;
      },
      () => this.abandon(),
    );
  }

  private abandon(): void {
    clearInterval(this.keepAlive);
    this.writer.abort().catch(() => undefined);
    this.gone();
  }
}
