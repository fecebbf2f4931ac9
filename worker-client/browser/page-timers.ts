/** How often the clock is looked at, milliseconds. */
const TICK_MS = 1_000;
/** If a tick comes later than this, the machine or the tab has slept, milliseconds. */
const SLEPT_MS = 10_000;
/** A worker's script that sends a message with every tick. */
const TICKER = `setInterval(() => postMessage(0), ${TICK_MS})`;

interface DueTimer {
  at: number;
  run: () => void;
}

/**
 * Timers that also run in tabs that nobody sees. Browsers slow a hidden tab's own timers down to one a minute, which
 * is longer than a lease: the edge would take its worker for dead. They don't slow down those of a thread, so a small
 * thread sends a message each second, and what is due runs then. Where no such thread can be started, because the
 * page's policy forbids `worker-src blob:`, the tab's own timers have to do.
 */
export class PageTimers {
  readonly #due = new Set<DueTimer>();
  /** Called when the tab or its machine has slept. */
  onWake: () => void = () => {};
  readonly #ownTicks: ReturnType<typeof setInterval>;
  readonly #thread: Worker | null;
  #tickedAt = Date.now();

  constructor() {
    const tick = () => this.#onTick();
    this.#ownTicks = setInterval(tick, TICK_MS);
    this.#thread = startTicker(tick);
  }

  /** Nothing runs any more. */
  stop(): void {
    clearInterval(this.#ownTicks);
    this.#thread?.terminate();
    this.#due.clear();
  }

  after(ms: number, run: () => void): () => void {
    const timer: DueTimer = { at: performance.now() + ms, run };
    this.#due.add(timer);
    const own = setTimeout(() => this.#runIfHeld(timer), ms);
    return () => {
      clearTimeout(own);
      this.#due.delete(timer);
    };
  }

  every(ms: number, run: () => void): () => void {
    let cancel = () => {};
    const start = () => {
      cancel = this.after(ms, () => {
        start();
        run();
      });
    };
    start();
    return () => cancel();
  }

  #onTick(): void {
    const now = Date.now();
    const late = now - this.#tickedAt;
    this.#tickedAt = now;
    for (const timer of [...this.#due]) if (timer.at <= performance.now()) this.#runIfHeld(timer);
    if (late > SLEPT_MS) this.onWake();
  }

  #runIfHeld(timer: DueTimer): void {
    if (this.#due.delete(timer)) timer.run();
  }
}

/** @returns `null` if the page may start no thread */
function startTicker(tick: () => void): Worker | null {
  try {
    const url = URL.createObjectURL(new Blob([TICKER], { type: "text/javascript" }));
    const thread = new Worker(url);
    thread.onmessage = tick;
    thread.onerror = () => thread.terminate();
    return thread;
  } catch {
    return null;
  }
}
