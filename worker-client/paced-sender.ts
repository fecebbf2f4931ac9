import { transferMs } from "../src/protocol/announcement.ts";
import { byteLength } from "./byte-length.ts";

/** Least and most bytes that may be sent without the edge having answered a ping behind them. */
const LEAST_WINDOW = 65_536;
const MOST_WINDOW = 4_194_304;
/** A ping that is answered sooner shows that the link has room for more; later, that it has too much already. */
const QUICK_MS = 1_000;
const SLOW_MS = 5_000;

interface SentPing {
  /** How many bytes were sent before it. */
  behind: number;
  at: number;
}

interface PacedSenderDeps {
  write(message: string): void;
  /** The largest message that is not announced, bytes; `null`: the edge does not know announcements. */
  unannouncedBytes: () => number | null;
  now?: () => number;
}

/**
 * Sends no more than the link carries away: what is sent stands in a queue of the network, and a ping that is sent
 * behind it is answered only when all of it has arrived. Without a bound that takes minutes on a slow link, which then
 * looks dead. So pings are sent along, and while too much is unanswered, messages wait here (decision 0046).
 */
export class PacedSender {
  readonly #deps: PacedSenderDeps;
  readonly #now: () => number;
  readonly #waiting: { message: string; bytes: number }[] = [];
  readonly #pings: SentPing[] = [];
  #window = LEAST_WINDOW;
  #sent = 0;
  #pinged = 0;
  #confirmed = 0;
  #waitingBytes = 0;
  #busyUntil = 0;

  constructor(deps: PacedSenderDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
  }

  /** The most bytes that should be put into one message. */
  get window(): number {
    return this.#window;
  }

  /** Bytes that wait here. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Until when nothing may come from the edge because a large message is under way; on the clock of `now`. */
  get busyUntil(): number {
    return this.#busyUntil;
  }

  send(message: string): void {
    const bytes = byteLength(message);
    if (this.#waiting.length > 0 || this.#isFull) {
      this.#waiting.push({ message, bytes });
      this.#waitingBytes += bytes;
    } else this.#write(message, bytes);
  }

  ping(): void {
    this.#pings.push({ behind: this.#sent, at: this.#now() });
    this.#pinged = this.#sent;
    this.#deps.write("ping");
  }

  /** Pings are answered in their order, so this answers the oldest. */
  onPong(): void {
    const ping = this.#pings.shift();
    if (ping === undefined) return;
    const ms = this.#now() - ping.at;
    // A ping behind a few bytes shows nothing about the link.
    const isTelling = ping.behind - this.#confirmed >= this.#window / 2;
    this.#confirmed = ping.behind;
    if (isTelling && ms < QUICK_MS) this.#window = Math.min(this.#window * 2, MOST_WINDOW);
    else if (ms > SLOW_MS) this.#window = Math.max(this.#window / 2, LEAST_WINDOW);
    if (this.#confirmed === this.#sent) this.#busyUntil = 0;
    while (!this.#isFull) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#waitingBytes -= next.bytes;
      this.#write(next.message, next.bytes);
    }
    if (this.#pings.length === 0) this.ping();
  }

  get #isFull(): boolean {
    return this.#sent - this.#confirmed >= this.#window;
  }

  #write(message: string, bytes: number): void {
    const unannounced = this.#deps.unannouncedBytes();
    if (bytes > LEAST_WINDOW) {
      this.#busyUntil = Math.max(this.#now(), this.#busyUntil) + transferMs(bytes);
      if (unannounced !== null && bytes > unannounced) {
        this.#deps.write(JSON.stringify({ type: "sending", bytes }));
      }
    }
    this.#deps.write(message);
    this.#sent += bytes;
    if (this.#sent - this.#pinged >= this.#window / 2) this.ping();
  }
}
