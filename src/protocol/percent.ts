/**
 * The number, cut to the range from 0 to 100. Clients cut what they send, because a program that computes
 * 100.00001 means 100; the edge takes only what is in the range (W16a).
 */
export function cutPercent(percent: number): number {
  return Math.min(100, Math.max(0, percent));
}
