import { LIMITS } from "../protocol/limits.ts";

/** How many frames a client may send: `burst` at once, and `perSecond` in the long run. */
export interface FrameRate {
  burst: number;
  perSecond: number;
}

export interface Bucket {
  tokens: number;
  at: number;
}

/** Knows of each client how much more it may send now. */
export class TokenBucketLimiter<C extends object> {
  private readonly rate: FrameRate;
  private readonly buckets = new WeakMap<C, Bucket>();

  constructor(rate: FrameRate) {
    this.rate = rate;
  }

  /** `false` for a frame that is one too many; `count`: as how many it counts. */
  admits(client: C, now: number, count = 1): boolean {
    const bucket = spend(this.buckets.get(client) ?? null, this.rate, now, count);
    if (bucket) this.buckets.set(client, bucket);
    return bucket !== null;
  }
}

/** What is left after `count` more frames at `now`; `null` where that is too many. Pure. */
export function spend(
  bucket: Bucket | null,
  rate: FrameRate,
  now: number,
  count = 1,
): Bucket | null {
  const before = bucket ?? { tokens: rate.burst, at: now };
  const earned = ((now - before.at) / 1_000) * rate.perSecond;
  const tokens = Math.min(rate.burst, before.tokens + Math.max(0, earned));
  return tokens < count ? null : { tokens: tokens - count, at: now };
}

const RATE = { burst: LIMITS.frameBurst, perSecond: LIMITS.framesPerSecond };

/** What a client of rooms may send. */
export function clientFrameLimiter<C extends object>(): TokenBucketLimiter<C> {
  return new TokenBucketLimiter(RATE);
}

export const TOO_MANY_FRAMES = `Too many frames: ${LIMITS.framesPerSecond} a second at most.`;
