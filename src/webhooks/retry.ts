/** The delays between attempts, seconds; together almost nine hours. */
const WAITS_S = [5, 30, 120, 600, 1_800, 7_200, 21_600] as const;

/** The status with which an endpoint says that it wants no more messages. */
const GONE = 410;

/** The outcome of an attempt to deliver: the HTTP status of the answer, or the reason why there was none. */
export type DeliveryOutcome = { status: number } | { error: string };

/** Whether the endpoint accepted the message: any 2xx. */
export function isDelivered(outcome: DeliveryOutcome): boolean {
  return "status" in outcome && outcome.status >= 200 && outcome.status < 300;
}

/**
 * When to try again after attempt number `attempts` failed at `now`, milliseconds; `null` for never.
 *
 * @param random at least 0 and less than 1; spreads the attempts, so that an endpoint that was down does not get
 *   all its messages at once
 */
export function nextAttemptAt(
  outcome: DeliveryOutcome,
  attempts: number,
  now: number,
  random: number,
): number | null {
  const waitS = WAITS_S[attempts - 1];
  if (waitS === undefined || ("status" in outcome && outcome.status === GONE)) return null;
  return now + Math.round(waitS * 1_000 * (0.8 + 0.4 * random));
}
