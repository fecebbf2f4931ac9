import { weightOf, withSkipped } from "../channel/coalesce.ts";
import { SLOW_BYTES } from "../channel/flow.ts";
import { LIMITS } from "../protocol/limits.ts";

/** Proxies cut connections that are silent for about a minute. */
const KEEP_ALIVE_MS = 15_000;

export const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};

/** What a frame of any channel tells of its place. */
export interface StreamedFrame {
  type: string;
  epoch?: string;
  offset?: number;
  recovered?: boolean;
  /** Of the job, where it tells of one. */
  status?: string;
}

/** The text of one client's events. */
export class EventStream {
  readonly readable: ReadableStream<Uint8Array>;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly encoder = new TextEncoder();
  private readonly keepAlive: ReturnType<typeof setInterval>;
  private readonly hasSnapshot: boolean;
  private epoch = "";
  /** Until it is whole, a snapshot gives no id: cut short, it has to come again. */
  private snapshotUntil = 0;
  private unread = 0;
  /** The newest state, for a reader that has enough to read, and how many it replaced. */
  private held: { frame: StreamedFrame; text: string } | null = null;
  private skipped = 0;
  private gone: () => void = () => undefined;

  /** `hasSnapshot`: who could not go on where it was is sent the state before new events. */
  constructor(hasSnapshot: boolean) {
    this.hasSnapshot = hasSnapshot;
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    this.readable = readable;
    this.writer = writable.getWriter();
    this.keepAlive = setInterval(() => this.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
  }

  /** `handle` is called once nobody reads any more. */
  onGone(handle: () => void): void {
    this.gone = handle;
  }

  /** A slow reader gets the newest states only; anything else is never left out. */
  send(frame: StreamedFrame, text: string): void {
    const weight = weightOf(frame);
    if (weight === "kept") this.release();
    else if (this.held !== null) {
      this.held = null;
      this.skipped += 1;
    }
    if (weight === "state" && this.unread > SLOW_BYTES) this.held = { frame, text };
    else this.pass(frame, text);
  }

  end(): void {
    clearInterval(this.keepAlive);
    this.release();
    this.writer.close().catch(() => undefined);
  }

  private release(): void {
    const { held } = this;
    if (held === null) return;
    this.held = null;
    this.pass(held.frame, held.text);
  }

  private pass(frame: StreamedFrame, text: string): void {
    const data = withSkipped(text, this.skipped);
    this.skipped = 0;
    this.write(`${this.idOf(frame)}event: ${frame.type}\ndata: ${data}\n\n`);
  }

  private idOf(frame: StreamedFrame): string {
    if (frame.type === "connection") {
      this.epoch = frame.epoch ?? "";
      this.snapshotUntil = frame.recovered || !this.hasSnapshot ? 0 : (frame.offset ?? 0);
      // Cut off before its first event, a stream without a snapshot goes on from where it began.
      if (this.hasSnapshot) return "";
    }
    if (frame.offset === undefined) return "";
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
        if (this.unread <= SLOW_BYTES) this.release();
      },
      () => this.abandon(),
    );
  }

  private abandon(): void {
    this.held = null;
    clearInterval(this.keepAlive);
    this.writer.abort().catch(() => undefined);
    this.gone();
  }
}
