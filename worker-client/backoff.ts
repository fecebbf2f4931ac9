/** How long to wait before dialing again. */
export interface Backoff {
  firstMs: number;
  capMs: number;
}

/** The longest wait is shorter than the default 15 s that an edge waits for a dropped worker. */
export const BACKOFF: Backoff = { firstMs: 1_000, capMs: 10_000 };

/**
 * Exponential with full jitter: workers that lost the same edge must not all dial again at once.
 *
 * @param failures connections lost or refused in a row, 0 for the first
 * @param random from 0 up to 1
 */
export function backoffMs(failures: number, random: number, backoff: Backoff = BACKOFF): number {
  // 2 ** 30 seconds is far above any cap; more would overflow to Infinity, and 0 × Infinity is NaN.
  const ceiling = Math.min(backoff.capMs, backoff.firstMs * 2 ** Math.min(failures, 30));
  return Math.floor(random * ceiling);
}
