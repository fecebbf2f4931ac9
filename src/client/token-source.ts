import { DialoutError } from "./errors.ts";
import { withinLimits } from "./time-limit.ts";

/** A token, or a function that is called whenever a fresh token is needed. */
export type Token = string | (() => string | null | Promise<string | null>);

/** A token that expires sooner than this is replaced before use, milliseconds. */
const MARGIN_MS = 5_000;
/** Characters that the header `Authorization` may contain; without them `fetch` sends nothing. */
const HEADER_TEXT = /^[\x21-\x7e\x80-\xff]+( [\x21-\x7e\x80-\xff]+)*$/;

/** Caches one client's token until it expires or the edge refuses it. */
export class TokenSource {
  readonly #given: Token | null;
  readonly #limitMs: number;
  #kept: string | null = null;
  #asking: Promise<string | null> | null = null;

  /** @param limitMs how long the token function may take, milliseconds */
  constructor(given: Token | null | undefined, limitMs: number) {
    this.#given = typeof given === "function" ? given : checked(given);
    this.#limitMs = limitMs;
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
    const given = this.#given;
    if (typeof given !== "function") return given;
    this.#kept = await withinLimits(async () => checked(await given()), {
      ms: this.#limitMs,
      late: () => invalid(`The token function returned none within ${this.#limitMs / 1_000} s.`),
      signals: [],
    }).catch((cause) => {
      if (cause instanceof DialoutError) throw cause;
      throw invalid("No token could be obtained: the token function failed.", cause);
    });
    return this.#kept;
  }
}

/** The error never contains the token. */
function checked(token: unknown): string | null {
  if (token === null || token === undefined || token === "") return null;
  if (typeof token !== "string") throw invalid(`A token is a text or null, not a ${typeof token}.`);
  if (HEADER_TEXT.test(token)) return token;
  throw invalid("The token has characters that can't be sent, such as a line break at its end.");
}

function invalid(message: string, cause?: unknown): DialoutError {
  return new DialoutError("invalid_token", message, { cause });
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
