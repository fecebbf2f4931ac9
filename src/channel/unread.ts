import { LIMITS } from "../protocol/limits.ts";

/** A `read_check` that was sent, and how much was sent before it. */
interface Check {
  token: string;
  sent: number;
}

/** How long an answer may take on a busy machine: what is sent in one go comes before any answer can. */
const ANSWER_MS = 1_000;

/** So many unanswered checks are remembered; a client that answers only older ones has not read the rest. */
const MAX_CHECKS = 64;

/**
 * How much one client was sent and has not shown to have read, in characters. The runtime doesn't say what it
 * still holds for a socket, so the client has to show it (decision 0042). Pure: it gets the time.
 */
export class UnreadCount {
  /** Since the last answered check, less what time has forgiven. */
  private unread = 0;
  /** Since the client was last heard of, less what time has forgiven; never more than `unread`. */
  private unheard = 0;
  private sent = 0;
  private lookAt: number = LIMITS.readCheckEvery;
  private forgivenAt: number;
  /** The first look after the client was last heard of. */
  private quietSince: number | null = null;
  private checks: Check[] = [];

  constructor(now: number) {
    this.forgivenAt = now;
  }

  get size(): number {
    return this.unread;
  }

  /** Counts what is sent. Returns whether it is time for `look`: this alone runs for each message. */
  add(length: number): boolean {
    this.sent += length;
    this.unread += length;
    this.unheard += length;
    return this.unread >= this.lookAt;
  }

  /**
   * Forgives what any connection takes in that much time: a client that only listens, and never sends anything,
   * must get ordinary amounts for hours.
   */
  forgive(now: number): void {
    const forgiven = (Math.max(0, now - this.forgivenAt) / 1_000) * LIMITS.forgivenPerSecond;
    this.forgivenAt = now;
    this.quietSince ??= now;
    this.set(Math.max(0, this.unread - forgiven), Math.max(0, this.unheard - forgiven));
  }

  /** The client has sent something, so it lives. That doesn't show what it has read. */
  onHeard(): void {
    this.quietSince = null;
    this.unheard = 0;
  }

  /** The client is trusted and has sent a frame: it has read what it was sent. */
  onTrusted(): void {
    this.quietSince = null;
    this.checks = [];
    this.set(0, 0);
  }

  /** A `read_check` with this token follows what was sent up to now. */
  onCheckSent(token: string): void {
    this.checks = [...this.checks, { token, sent: this.sent }].slice(-MAX_CHECKS);
  }

  /** The client answered a check, so it has read what came before it. */
  onAnswer(token: string): void {
    const index = this.checks.findIndex((check) => check.token === token);
    const check = this.checks[index];
    if (!check) return;
    this.quietSince = null;
    this.checks = this.checks.slice(index + 1);
    const unread = Math.min(this.unread, this.sent - check.sent);
    this.set(unread, Math.min(this.unheard, unread));
  }

  /**
   * Whether the client must be cut off.
   *
   * @param isFull the object holds too much for all of its sockets together
   */
  isTooMuch(isFull: boolean): boolean {
    if (isFull && this.unread > LIMITS.unreadWhenFull) return true;
    const quietMs = this.forgivenAt - (this.quietSince ?? this.forgivenAt);
    return this.unheard > (quietMs < ANSWER_MS ? LIMITS.unreadAtOnce : LIMITS.unreadBytes);
  }

  private set(unread: number, unheard: number): void {
    this.unread = unread;
    this.unheard = unheard;
    this.lookAt = unread + LIMITS.readCheckEvery;
  }
}
