import { weightOf, withSkipped } from "../channel/coalesce.ts";
import { SLOW_BYTES } from "../channel/flow.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Many proxies close a connection that is silent for about a minute. */
const KEEP_ALIVE_MS = 15_000;

export const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** The fields that a stream reads from a frame, whichever channel it comes from. */
export interface StreamedFrame {
  type: string;
  epoch?: string;
  offset?: number;
  recovered?: boolean;
  /** The job's status, if the frame reports one. */
  status?: string;
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
  /** The newest state, kept back while the reader is behind. */
  private deferred: { frame: StreamedFrame; text: string } | null = null;
  /** How many states the deferred one replaced. */
  private skipped = 0;
  private handleGone: () => void = () => undefined;

  /** @param hasSnapshot whether a reader that can't be continued is sent the current state before new events */
  constructor(hasSnapshot: boolean) {
    this.hasSnapshot = hasSnapshot;
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.readable = readable;
    this.writer = writable.getWriter();
    this.keepAlive = setInterval(() => this.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
  }

  /** `handle` is called when the reader has left or was cut off. */
  onReaderLeft(handle: () => void): void {
    this.handleGone = handle;
  }

  /** Sends a frame. A slow reader gets only the newest states, but every other frame. */
  send(frame: StreamedFrame, text: string): void {
    const weight = weightOf(frame);
    if (weight === "kept") this.sendDeferred();
    else if (this.deferred !== null) {
      this.deferred = null;
      this.skipped += 1;
    }
    if (weight === "state" && this.unread > SLOW_BYTES) this.deferred = { frame, text };
    else this.sendNow(frame, text);
  }

  end(): void {
    clearInterval(this.keepAlive);
    this.sendDeferred();
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
    this.write(`${this.idOf(frame)}event: ${frame.type}\ndata: ${data}\n\n`);
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
    this.deferred = null;
    clearInterval(this.keepAlive);
    this.writer.abort().catch(() => undefined);
    this.handleGone();
  }
}
