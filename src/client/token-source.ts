import { DialoutError } from "./errors.ts";

/** A token, or a function that is called whenever a fresh token is needed. */
export type Token = string | (() => string | null | Promise<string | null>);

/** A token that expires sooner than this is replaced before use, milliseconds. */
const MARGIN_MS = 5_000;

/** Caches one client's token until it expires or the edge refuses it. */
export class TokenSource {
  readonly #given: Token | null;
  #kept: string | null = null;
  #asking: Promise<string | null> | null = null;

  constructor(given: Token | null | undefined) {
    this.#given = given ?? null;
  }

  /** Whether a different token may be available: only if a function was given. */
  get canRenew(): boolean {
    return typeof this.#given === "function";
  }

  /** @throws {DialoutError} `invalid_token` if the token function fails */
  async current(): Promise<string | null> {
    if (typeof this.#given !== "function") return this.#given;
    const expiresAt = expiryOf(this.#kept) ?? Number.POSITIVE_INFINITY;
    if (this.#kept !== null && Date.now() < expiresAt - MARGIN_MS) return this.#kept;
    return this.renew();
  }

  /** Calls the token function; concurrent callers share one call and its token. */
  renew(): Promise<string | null> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** Forgets a token that the edge refused, so that it is not used again. */
  refuse(token: string | null): void {
    if (this.#kept === token) this.#kept = null;
  }

  async #ask(): Promise<string | null> {
    try {
      this.#kept = (typeof this.#given === "function" ? await this.#given() : this.#given) || null;
      return this.#kept;
    } catch (cause) {
      throw new DialoutError("invalid_token", "No token could be obtained.", { cause });
    }
  }
}

/**
 * When a JWT expires, in milliseconds since 1970; `null` for any other text. Only a hint for when to
 * renew it: the edge decides whether it is valid.
 */
export function expiryOf(token: string | null): number | null {
  const [, payload] = token?.split(".") ?? [];
  if (payload === undefined) return null;
  try {
    const { exp } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof exp === "number" ? exp * 1_000 : null;
  } catch {
    return null;
  }
}
