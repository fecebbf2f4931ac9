import { expiryOf, type TokenSource } from "./token-source.ts";

/** A fresh token goes out so long before the old one runs out, where that leaves half its time. */
const AHEAD_MS = 45_000;
const RETRY_MS = 5_000;
/** Whoever gives the same token again is not asked more often than this. */
const LEAST_MS = 1_000;
/** What a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;

/** Gets a fresh token in time, for a socket that outlives its token. */
export class TokenRenewal {
  readonly #tokens: TokenSource;
  readonly #send: (token: string) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isRunning = false;
  #askedAt = 0;

  constructor(tokens: TokenSource, send: (token: string) => void) {
    this.#tokens = tokens;
    this.#send = send;
  }

  /** The socket was opened with the token that is current. */
  start(): void {
    this.#isRunning = true;
    if (!this.#tokens.canRenew) return;
    void this.#tokens.current().then(
      (token) => this.onAccepted(expiryOf(token)),
      () => undefined,
    );
  }

  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
  }

  /** The edge takes the token until then. */
  onAccepted(expiresAt: number | null): void {
    if (expiresAt === null) return;
    const left = expiresAt - Date.now();
    this.#schedule(Math.max(left - AHEAD_MS, left / 2, LEAST_MS));
  }

  /** The edge does not take the token that was sent. */
  onRefused(): void {
    this.#schedule(RETRY_MS);
  }

  /** The edge says that the token runs out soon; of one that is short-lived it says so at once. */
  onExpiring(): void {
    this.#schedule(Math.max(LEAST_MS, this.#askedAt + RETRY_MS - Date.now()));
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isRunning || !this.#tokens.canRenew) return;
    const wait = Math.min(Math.max(ms, 0), LONGEST_MS);
    this.#timer = setTimeout(() => void this.#renew(), wait);
  }

  async #renew(): Promise<void> {
    this.#askedAt = Date.now();
    try {
      const token = await this.#tokens.renew();
      if (this.#isRunning && token !== null) this.#send(token);
    } catch {
      this.#schedule(RETRY_MS);
    }
  }
}
