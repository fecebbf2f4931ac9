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
export class FloodGate<C extends object> {
  private readonly rate: FrameRate;
  private readonly buckets = new WeakMap<C, Bucket>();

  constructor(rate: FrameRate) {
    this.rate = rate;
  }

  /** `false` for a frame that is one too many. */
  admits(client: C, now: number): boolean {
    const bucket = spend(this.buckets.get(client) ?? null, this.rate, now);
    if (bucket) this.buckets.set(client, bucket);
    return bucket !== null;
  }
}

/** What is left after one more frame at `now`; `null` where it is one too many. Pure. */
export function spend(bucket: Bucket | null, rate: FrameRate, now: number): Bucket | null {
  const before = bucket ?? { tokens: rate.burst, at: now };
  const earned = ((now - before.at) / 1_000) * rate.perSecond;
  const tokens = Math.min(rate.burst, before.tokens + Math.max(0, earned));
  return tokens < 1 ? null : { tokens: tokens - 1, at: now };
}
