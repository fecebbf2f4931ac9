import { type Bucket, spend } from "./rate-limiter.ts";

/** Frames that may be stored one by one: so many at once, and each second in the long run. */
const RATE = { burst: 32, perSecond: 50 };
/** More than the frames with which a worker ends a quick job. */
const FRAMES_OF_A_JOB = 16;

/**
 * Decides whether frames come so fast that a batch should wait for more (decision 0044). Stored one by one, each
 * costs a transaction and a wait for the disk, and every request stands in line behind them. The time between two
 * frames doesn't show it: while each is being stored, the next ones can't arrive.
 */
export class FrameAllowance {
  private bucket: Bucket = { tokens: RATE.burst, at: 0 };
  /** Whether the latest frame was one too many. */
  isExceeded = false;

  /** A frame arrived at `now`, milliseconds since 1970. */
  onFrame(now: number): void {
    const left = spend(this.bucket, RATE, now);
    this.isExceeded = left === null;
    if (left !== null) this.bucket = left;
  }

  /** Jobs were handed to workers: the frames that answer them are none too many. */
  grant(jobs: number): void {
    if (jobs === 0) return;
    const tokens = Math.min(RATE.burst, this.bucket.tokens + jobs * FRAMES_OF_A_JOB);
    this.bucket = { ...this.bucket, tokens };
    this.isExceeded = false;
  }
}
