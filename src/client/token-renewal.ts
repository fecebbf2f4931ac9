import { expiryOf, type TokenSource } from "./token-source.ts";

/** A token is renewed this long before it expires; one that lives shorter, halfway between its receipt and its end. */
const AHEAD_MS = 45_000;
const RETRY_MS = 5_000;
/** Shortest wait before a renewal, in case the token function keeps returning the same token. */
const LEAST_MS = 1_000;
/** The longest delay that `setTimeout` supports. */
const LONGEST_MS = 2 ** 31 - 1;

/** Renews the token of an open socket before it expires. */
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

  /** Call when a socket has opened with the current token. */
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

  /** The edge accepts the token until `expiresAt` (milliseconds since 1970). */
  onAccepted(expiresAt: number | null): void {
    if (expiresAt === null) return;
    const left = expiresAt - Date.now();
    this.#schedule(Math.max(left - AHEAD_MS, left / 2, LEAST_MS));
  }

  /** The edge refused the token that was sent. */
  onRefused(): void {
    this.#schedule(RETRY_MS);
  }

  /** The edge warns that the token expires soon; for a short-lived token it does so immediately (R11). */
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
