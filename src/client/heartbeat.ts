import { transferMs } from "../protocol/announcement.ts";

/** After this much silence a `ping` is sent; after as much again the connection is considered dead. */
const HEARTBEAT_MS = 20_000;
/** How often the clock is read. A machine that slept reads a much later time than it expects. */
const TICK_MS = 5_000;
/** How long the answer to a ping may take if there is a reason to doubt the connection. */
const DOUBT_MS = 5_000;

interface HeartbeatHandlers {
  ping(): void;
  /** Nothing came back: the connection is dead, although nobody closed it. */
  onDead(): void;
}

/** Finds out that a connection is dead. A socket itself may not notice for many minutes. */
export class Heartbeat {
  readonly #handlers: HeartbeatHandlers;
  readonly #tickMs: number;
  readonly #beatTicks: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #doubt: ReturnType<typeof setTimeout> | undefined;
  #hasReceived = false;
  /** Until when a large message may be under way, so that nothing else comes; milliseconds since 1970. */
  #busyUntil = 0;
  #ticks = 0;
  #tickedAt = 0;

  /** @param ms used instead of HEARTBEAT_MS */
  constructor(handlers: HeartbeatHandlers, ms = HEARTBEAT_MS) {
    this.#handlers = handlers;
    this.#tickMs = Math.min(TICK_MS, ms / 2);
    this.#beatTicks = Math.round(ms / this.#tickMs);
  }

  /** Call when a connection has opened. */
  start(): void {
    this.stop();
    this.#hasReceived = true;
    this.#busyUntil = 0;
    this.#ticks = 0;
    this.#tickedAt = Date.now();
    this.#timer = setInterval(() => this.#onTick(), this.#tickMs);
    globalThis.document?.addEventListener("visibilitychange", this.#onVisible);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#trust();
    globalThis.document?.removeEventListener("visibilitychange", this.#onVisible);
  }

  /** Call for everything that arrives. */
  onReceive(): void {
    this.#hasReceived = true;
    this.#busyUntil = 0;
    this.#trust();
  }

  /** Call when the edge announces its next message: parts of a message that is arriving can't be seen. */
  onAnnounce(bytes: number): void {
    this.#busyUntil = Date.now() + transferMs(bytes);
  }

  readonly #onVisible = (): void => {
    if (globalThis.document?.visibilityState === "visible") this.#check();
  };

  #onTick(): void {
    const now = Date.now();
    const late = now - this.#tickedAt - this.#tickMs;
    this.#tickedAt = now;
    if (late > TICK_MS) this.#check();
    this.#ticks += 1;
    if (this.#ticks % this.#beatTicks !== 0) return;
    if (now < this.#busyUntil) return;
    if (!this.#hasReceived) {
      this.#handlers.onDead();
      return;
    }
    this.#hasReceived = false;
    this.#handlers.ping();
  }

  /** The page was hidden, or the machine slept: the connection may have died meanwhile. */
  #check(): void {
    if (this.#doubt !== undefined || this.#timer === undefined) return;
    if (Date.now() < this.#busyUntil) return;
    this.#doubt = setTimeout(() => {
      this.#doubt = undefined;
      this.#handlers.onDead();
    }, DOUBT_MS);
    this.#handlers.ping();
  }

  #trust(): void {
    clearTimeout(this.#doubt);
    this.#doubt = undefined;
  }
}
