import { DialoutError } from "./errors.ts";

/** A token, or a function that is asked for one whenever a fresh one is needed. */
export type Token = string | (() => string | null | Promise<string | null>);

/** A token with less than this left is not worth using, milliseconds. */
const MARGIN_MS = 5_000;

/** The token of one client: asked for once, kept until it runs out or the edge refuses it. */
export class TokenSource {
  readonly #given: Token | null;
  #kept: string | null = null;
  #asking: Promise<string | null> | null = null;

  constructor(given: Token | null | undefined) {
    this.#given = given ?? null;
  }

  /** Whether another token can be had than the one that is kept. */
  get canRenew(): boolean {
    return typeof this.#given === "function";
  }

  /** @throws {DialoutError} `invalid_token` where the function that gives tokens fails */
  async current(): Promise<string | null> {
    if (typeof this.#given !== "function") return this.#given;
    const expiresAt = expiryOf(this.#kept) ?? Number.POSITIVE_INFINITY;
    if (this.#kept !== null && Date.now() < expiresAt - MARGIN_MS) return this.#kept;
    return this.renew();
  }

  /** Asks for a fresh token; those who ask at the same time get the same. */
  renew(): Promise<string | null> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** The edge refused this token: it is not used again. */
  refuse(token: string | null): void {
    if (this.#kept === token) this.#kept = null;
  }

  async #ask(): Promise<string | null> {
    try {
      this.#kept = (typeof this.#given === "function" ? await this.#given() : this.#given) || null;
      return this.#kept;
    } catch (cause) {
      throw new DialoutError("invalid_token", "No token could be had.", { cause });
    }
  }
}

/**
 * When a JWT runs out, milliseconds since 1970; `null` for any other text. Only a hint of when to ask
 * for the next one: the edge decides.
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
