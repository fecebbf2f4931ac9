import { weightOf, withSkipped } from "../channel/coalesce.ts";
import { SLOW_BYTES } from "../channel/flow.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Many proxies close a connection that is silent for about a minute. */
const KEEP_ALIVE_MS = 15_000;
/**
 * A reader that has left shows only when something is written to it, and each proxy on the way takes one write until
 * it passes that on. So if it matters that a reader leaves, comments come more often (decision 0019).
 */
const WATCHED_KEEP_ALIVE_MS = 5_000;

export const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** The frames after which a channel ends. */
const ERRORS: ReadonlySet<string> = new Set(["error", "connection.error"]);

/** The fields that a stream reads from a frame, whichever channel it comes from. */
export interface StreamedFrame {
  type: string;
  epoch?: string;
  offset?: number;
  recovered?: boolean;
  /** The job's status, if the frame reports one. */
  status?: string;
}

/**
 * The characters that end a line for some readers, Python's `splitlines` among them, and that JSON leaves as they
 * are. It escapes all others, such as a lone carriage return.
 */
const LINE_BREAKS = /[\u0085\u2028\u2029]/g;

/** The same JSON on one line for every reader (C12e). */
function onOneLine(json: string): string {
  return json.replace(LINE_BREAKS, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Server-sent events to one reader. */
export class EventStreamWriter {
  readonly readable: ReadableStream<Uint8Array>;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly encoder = new TextEncoder();
  private readonly keepAlive: ReturnType<typeof setInterval>;
  private readonly hasSnapshot: boolean;
  private epoch = "";
  /**
   * Offset at which the snapshot ends, 0 if none is being sent. Until then events have no id: a reader that is
   * cut off within a snapshot would name that id, and never get the rest.
   */
  private snapshotUntil = 0;
  /** Bytes that the reader has not read yet. */
  private unread = 0;
  /** The last frame was an error, which says why the stream ends. */
  private saidWhy = false;
  /** Nothing is sent any more. */
  private isOver = false;
  /** The newest state, kept back while the reader is behind. */
  private deferred: { frame: StreamedFrame; text: string } | null = null;
  /** How many states the deferred one replaced. */
  private skipped = 0;
  /** The reader has left or was cut off. */
  private isGone = false;
  private handleGone: () => void = () => undefined;

  /**
   * @param hasSnapshot whether a reader that can't be continued is sent the current state before new events
   * @param isWatched whether it matters that the reader leaves
   */
  constructor(hasSnapshot: boolean, isWatched = false) {
    this.hasSnapshot = hasSnapshot;
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.readable = readable;
    this.writer = writable.getWriter();
    // Rejects as soon as the reader is gone, and so before the next write fails.
    this.writer.closed.catch(() => this.cutOff());
    const everyMs = isWatched ? WATCHED_KEEP_ALIVE_MS : KEEP_ALIVE_MS;
    this.keepAlive = setInterval(() => this.write(": keep-alive\n\n"), everyMs);
  }

  /** `handle` is called when the reader has left or was cut off, at once if that has happened already. */
  onReaderLeft(handle: () => void): void {
    if (this.isGone) handle();
    else this.handleGone = handle;
  }

  /** Sends a frame. A slow reader gets only the newest states, but every other frame. */
  send(frame: StreamedFrame, text: string): void {
    if (this.isOver) return;
    this.saidWhy = ERRORS.has(frame.type);
    const weight = weightOf(frame);
    if (weight === "kept") this.sendDeferred();
    else if (this.deferred !== null) {
      this.deferred = null;
      this.skipped += 1;
    }
    if (weight === "state" && this.unread > SLOW_BYTES) this.deferred = { frame, text };
    else this.sendNow(frame, text);
  }

  /**
   * Ends the stream.
   *
   * @param lastFrame the `error` that says why, unless the channel itself has just said so
   */
  end(lastFrame: string | null = null): void {
    if (this.isOver) return;
    clearInterval(this.keepAlive);
    this.sendDeferred();
    if (lastFrame !== null && !this.saidWhy) this.sendNow({ type: "error" }, lastFrame);
    this.isOver = true;
    this.writer.close().catch(() => undefined);
  }

  private sendDeferred(): void {
    const { deferred } = this;
    if (deferred === null) return;
    this.deferred = null;
    this.sendNow(deferred.frame, deferred.text);
  }

  private sendNow(frame: StreamedFrame, text: string): void {
    const data = withSkipped(text, this.skipped);
    this.skipped = 0;
    this.write(`${this.idOf(frame)}event: ${frame.type}\ndata: ${onOneLine(data)}\n\n`);
  }

  private idOf(frame: StreamedFrame): string {
    if (frame.type === "connection") {
      this.epoch = frame.epoch ?? "";
      this.snapshotUntil = frame.recovered || !this.hasSnapshot ? 0 : (frame.offset ?? 0);
      // Without a snapshot even this frame gets an id, so that a reader that is cut off right after it can go on.
      if (this.hasSnapshot) return "";
    }
    if (frame.offset === undefined) return "";
    if (frame.type === "progress" && frame.offset >= this.snapshotUntil) this.snapshotUntil = 0;
    return this.snapshotUntil === 0 ? `id: ${this.epoch}:${frame.offset}\n` : "";
  }

  /** A reader that is too far behind is cut off; its next request continues after the last event it read. */
  private write(text: string): void {
    const bytes = this.encoder.encode(text);
    this.unread += bytes.length;
    if (this.unread > LIMITS.unreadBytes) {
      this.cutOff();
      return;
    }
    this.writer.write(bytes).then(
      () => {
        this.unread -= bytes.length;
        if (this.unread <= SLOW_BYTES) this.sendDeferred();
      },
      () => this.cutOff(),
    );
  }

  private cutOff(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.isGone = true;
    this.deferred = null;
    clearInterval(this.keepAlive);
    this.writer.abort().catch(() => undefined);
    this.handleGone();
  }
}
