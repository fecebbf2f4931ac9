import { UnreadCount } from "../channel/unread.ts";
import { LIMITS } from "../protocol/limits.ts";
import { readCheckText } from "../protocol/read-check.ts";

/**
 * How far what a client sends is believed. `relayed`: the edge itself reads this socket, and bounds what the reader
 * behind it leaves unread. `trusted`: each frame shows that the client reads. `acknowledging`: the same, and it is not
 * asked, because it says what it has read anyway. `stranger`: only an answered check shows that it reads.
 */
export type ReaderKind = "relayed" | "trusted" | "acknowledging" | "stranger";

/** What the sockets of one object leave unread, all together. */
export class Readers {
  private unread = 0;
  /** Closed sockets whose connection has not ended yet: the runtime still holds what they left unread. */
  private readonly closed = new Map<WebSocket, number>();

  get isFull(): boolean {
    return this.unread > LIMITS.unreadOfAll;
  }

  add(by: number): void {
    this.unread += by;
  }

  onClosed(socket: WebSocket, unread: number): void {
    if (unread === 0) return;
    this.onGone(socket);
    this.closed.set(socket, unread);
    this.unread += unread;
  }

  /** The connection has ended, and with it what was held for it. */
  onGone(socket: WebSocket): void {
    this.unread -= this.closed.get(socket) ?? 0;
    this.closed.delete(socket);
  }
}

const known = new WeakMap<DurableObjectState, Readers>();

/** The one count of an object, whose sockets may be kept in several collections. */
export function readersOf(ctx: DurableObjectState): Readers {
  const readers = known.get(ctx) ?? new Readers();
  known.set(ctx, readers);
  return readers;
}

interface ReaderDeps {
  kind: ReaderKind;
  readers: Readers;
  /** When the runtime last answered the client's `ping`, milliseconds since 1970; `null`: never. */
  lastPingAt: () => number | null;
  /** Called once the current step is over, so that it may change what that step walks over. */
  onTooSlow: () => void;
}

/** Watches that one client reads what it is sent. In memory only: when an object hibernates, all was sent. */
export class Reader {
  /** The client is cut off: nothing more is sent. */
  isTooSlow = false;
  /** How many frames the client was sent since the object has had this memory. */
  framesSent = 0;
  private readonly deps: ReaderDeps;
  private readonly count = new UnreadCount(Date.now());
  /** What is counted for it in the sum of the object. */
  private counted = 0;
  private isOver = false;
  private left = 0;
  private pingedAt = 0;

  constructor(deps: ReaderDeps) {
    this.deps = deps;
  }

  /** Counts a message that was sent. Returns a text to send after it, or `null`. */
  onSent(length: number): string | null {
    if (this.deps.kind === "relayed" || !this.count.add(length)) return null;
    return this.look();
  }

  /** It has no reason to harm the edge: a worker, a backend that reports, the operator, or the edge itself. */
  get isTrusted(): boolean {
    return this.deps.kind === "trusted" || this.deps.kind === "relayed";
  }

  /** The client has sent a frame. */
  onFrame(): void {
    if (this.deps.kind === "stranger") this.count.onHeard();
    else this.count.onTrusted();
    this.report();
  }

  onAnswer(token: string): void {
    this.count.onAnswer(token);
    this.report();
  }

  /** How many characters more it may be sent before it should show that it reads. */
  get room(): number {
    return Math.max(0, LIMITS.unreadBytes - this.count.size);
  }

  /** The socket is closed, or gone. Returns what it left unread. */
  end(): number {
    if (!this.isOver) {
      this.isOver = true;
      this.left = this.counted;
      this.deps.readers.add(-this.counted);
    }
    return this.left;
  }

  private look(): string | null {
    this.count.forgive(Date.now());
    const pingedAt = this.deps.lastPingAt() ?? 0;
    if (pingedAt > this.pingedAt) this.count.onHeard();
    this.pingedAt = pingedAt;
    this.report();
    if (this.count.isTooMuch(this.deps.readers.isFull)) {
      this.isTooSlow = true;
      queueMicrotask(this.deps.onTooSlow);
      return null;
    }
    if (this.deps.kind === "acknowledging") return null;
    const token = crypto.randomUUID().slice(0, 8);
    this.count.onCheckSent(token);
    return readCheckText(token);
  }

  /** Small amounts are not worth a sum: what a large audience gets at once is no sign of slow readers. */
  private report(): void {
    if (this.isOver) return;
    const size = this.count.size < LIMITS.readCheckEvery ? 0 : this.count.size;
    this.deps.readers.add(size - this.counted);
    this.counted = size;
  }
}
