import { LIMITS } from "../protocol/limits.ts";
import { messageLength } from "./message-length.ts";

/** How many frames a client may send: `burst` at once, and `perSecond` in the long run. */
export interface FrameRate {
  burst: number;
  perSecond: number;
}

export interface Bucket {
  tokens: number;
  at: number;
}

/** Limits how many frames each client may send, with a token bucket for each. */
export class TokenBucketLimiter<C extends object> {
  private readonly rate: FrameRate;
  private readonly buckets = new WeakMap<C, Bucket>();

  constructor(rate: FrameRate) {
    this.rate = rate;
  }

  /** Counts a frame as `count` frames, and returns whether its client may send it now. */
  admits(client: C, now: number, count = 1): boolean {
    const bucket = spend(this.buckets.get(client) ?? null, this.rate, now, count);
    if (bucket) this.buckets.set(client, bucket);
    return bucket !== null;
  }
}

/**
 * The bucket after `count` more frames at `now`; `null` if that is too many. A `null` bucket is a full one.
 * Pure.
 */
export function spend(
  bucket: Bucket | null,
  rate: FrameRate,
  now: number,
  count = 1,
): Bucket | null {
  const tokens = tokensAt(bucket, rate, now);
  return tokens < count ? null : { tokens: tokens - count, at: now };
}

/** What a bucket has at `now`. Pure. */
export function tokensAt(bucket: Bucket | null, rate: FrameRate, now: number): number {
  if (bucket === null) return rate.burst;
  const earned = ((now - bucket.at) / 1_000) * rate.perSecond;
  return Math.min(rate.burst, bucket.tokens + Math.max(0, earned));
}

/** How many frames a message counts as at least; 0 for a short one. */
export function lengthCost(message: string | ArrayBuffer): number {
  return Math.floor(messageLength(message) / LIMITS.countedLength);
}

/** Who sends the frames: anybody, whoever has the operator's key or reports a job, or a worker. */
type SenderKind = "client" | "backend" | "worker";

export const RATES: Readonly<Record<SenderKind, FrameRate>> = {
  client: { burst: LIMITS.frameBurst, perSecond: LIMITS.framesPerSecond },
  backend: { burst: LIMITS.backendFrameBurst, perSecond: LIMITS.backendFramesPerSecond },
  worker: { burst: LIMITS.workerFrameBurst, perSecond: LIMITS.workerFramesPerSecond },
};

export function frameLimiter<C extends object>(kind: SenderKind): TokenBucketLimiter<C> {
  return new TokenBucketLimiter(RATES[kind]);
}

export function tooManyFrames({ perSecond }: FrameRate): string {
  return `Too many frames: ${perSecond} a second at most.`;
}
