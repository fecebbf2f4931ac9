/** Waits between attempts, seconds: half a day altogether. */
const WAITS_S = [5, 30, 120, 600, 1_800, 7_200, 21_600] as const;

/** Statuses that say that nobody wants to hear of this again. */
const GONE = 410;

/** What an attempt to tell ended in: the endpoint's status, or why there was none. */
export type DeliveryOutcome = { status: number } | { error: string };

export function isDelivered(told: DeliveryOutcome): boolean {
  return "status" in told && told.status >= 200 && told.status < 300;
}

/**
 * When to tell again after attempt number `attempts` failed at `now`; `null` for never.
 *
 * @param random from 0 up to 1: endpoints that came back must not be told everything at once
 */
export function nextAttemptAt(
  told: DeliveryOutcome,
  attempts: number,
  now: number,
  random: number,
): number | null {
  const waitS = WAITS_S[attempts - 1];
  if (waitS === undefined || ("status" in told && told.status === GONE)) return null;
  return now + Math.round(waitS * 1_000 * (0.8 + 0.4 * random));
}
