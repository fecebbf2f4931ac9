import { LIMITS } from "../protocol/limits.ts";

/** What a socket may still be sent to catch up. */
interface Allowance {
  /** Bytes; below 0 if it was sent more. */
  bytes: number;
  /** When that was so, milliseconds since 1970. */
  at: number;
}

/** Something to be sent to catch up, which waits for its turn. */
interface Waiting {
  bytes: number;
  begin: () => void;
}

/**
 * Spreads over time what sockets are sent to catch up, and what is read and built for it. Each socket may be sent
 * `LIMITS.catchUpBytes` at once and `LIMITS.catchUpBytesPerSecond` in the long run; and all sockets of an object
 * together are served `LIMITS.catchUpBytesPerTurn` in one turn of the event loop, so that others get theirs between.
 *
 * Example: a message of 48 KB follows a job that has ended with 1 MB of output 700 times. Built at once, the answers
 * would be a gigabyte. Instead the first few are sent, and each of the others when the socket may be sent more.
 */
export class CatchUpPace<S extends object> {
  private readonly allowances = new WeakMap<S, Allowance>();
  /** Wakes the catch-up that waits until its socket may be sent more. */
  private readonly sleeping = new WeakMap<S, () => void>();
  private readonly gone = new WeakSet<S>();
  /** Those that wait for a turn of the event loop. */
  private readonly queue: Waiting[] = [];
  /** What was begun in this turn, bytes; `null` if nothing was. */
  private thisTurn: number | null = null;

  /**
   * Counts what a socket is about to be sent. Returns `null` if that may happen now, otherwise a promise that resolves
   * when it may. Wait for one before you ask for the next.
   */
  enter(socket: S, bytes: number): Promise<void> | null {
    const waitMs = this.takeAllowance(socket, bytes);
    return waitMs > 0 ? this.sleepThenTakeTurn(socket, waitMs, bytes) : this.takeTurn(bytes);
  }

  /** Whether a socket may be sent more now. */
  maySend(socket: S): boolean {
    return this.takeAllowance(socket, 0) === 0;
  }

  /** Counts more bytes that a socket was sent, if that was only known afterwards. */
  charge(socket: S, bytes: number): void {
    this.takeAllowance(socket, bytes);
  }

  /** Call this when a socket has closed: nothing waits for it any longer. */
  forget(socket: S): void {
    this.gone.add(socket);
    this.sleeping.get(socket)?.();
  }

  /** Whether a socket has closed: then it is sent nothing more. */
  isGone(socket: S): boolean {
    return this.gone.has(socket);
  }

  /** Returns after how many milliseconds the bytes may be sent. */
  private takeAllowance(socket: S, bytes: number): number {
    const now = Date.now();
    const { bytes: left, at } = this.allowances.get(socket) ?? {
      bytes: LIMITS.catchUpBytes,
      at: now,
    };
    const gained = (Math.max(0, now - at) / 1_000) * LIMITS.catchUpBytesPerSecond;
    const available = Math.min(LIMITS.catchUpBytes, left + gained) - bytes;
    this.allowances.set(socket, { bytes: available, at: now });
    return available >= 0 ? 0 : (-available / LIMITS.catchUpBytesPerSecond) * 1_000;
  }

  private async sleepThenTakeTurn(socket: S, ms: number, bytes: number): Promise<void> {
    await this.sleep(socket, ms);
    await this.takeTurn(bytes);
  }

  private async sleep(socket: S, ms: number): Promise<void> {
    if (this.gone.has(socket)) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.sleeping.set(socket, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.sleeping.delete(socket);
  }

  /**
   * For what is built once for a request, such as the opening of a socket: returns `null` if it may be built now,
   * otherwise a promise that resolves in a turn with room for it.
   */
  takeTurn(bytes: number): Promise<void> | null {
    if (bytes === 0) return null;
    if (this.thisTurn === null) {
      this.thisTurn = 0;
      setTimeout(() => this.onNextTurn(), 0);
    }
    if (this.queue.length === 0 && this.fits(bytes)) {
      this.thisTurn += bytes;
      return null;
    }
    return new Promise((begin) => this.queue.push({ bytes, begin }));
  }

  /** Whether this turn has room; something that is larger than a turn gets one of its own. */
  private fits(bytes: number): boolean {
    const begun = this.thisTurn ?? 0;
    return begun === 0 || begun + bytes <= LIMITS.catchUpBytesPerTurn;
  }

  private onNextTurn(): void {
    if (this.queue.length === 0) {
      this.thisTurn = null;
      return;
    }
    this.thisTurn = 0;
    for (
      let next = this.queue[0];
      next !== undefined && this.fits(next.bytes);
      next = this.queue[0]
    ) {
      this.queue.shift();
      this.thisTurn += next.bytes;
      next.begin();
    }
    setTimeout(() => this.onNextTurn(), 0);
  }
}
