import { Webhook } from "standardwebhooks";
import type { WebhookEvent } from "../protocol/resources.ts";
import type { DeliveryOutcome } from "./retry.ts";

const ANSWER_WITHIN_MS = 10_000;
const UNREACHABLE =
  "The address can't be reached: there is no such host, or it takes no connection.";
const BROKEN_OFF = "The connection broke off before an answer came.";
const LATE = `No answer came within ${ANSWER_WITHIN_MS / 1_000} s.`;

/** Makes a random secret in the format of Standard Webhooks. */
export function makeSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return `whsec_${btoa(String.fromCharCode(...bytes))}`;
}

export interface WebhookMessage {
  id: string;
  url: string;
  event: WebhookEvent;
  /** The job as JSON. */
  job: string;
}

/**
 * Sends a message, signed as standardwebhooks.com defines it. Redirects are not followed.
 *
 * @param stop gives up without waiting for the answer
 */
export async function sendMessage(
  message: WebhookMessage,
  secret: string,
  now: Date,
  stop: AbortSignal,
): Promise<DeliveryOutcome> {
  const { id, url, event, job } = message;
  const body = `{"type":"job.${event}","timestamp":"${now.toISOString()}","data":${job}}`;
  try {
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      signal: AbortSignal.any([AbortSignal.timeout(ANSWER_WITHIN_MS), stop]),
      headers: {
        "content-type": "application/json",
        "user-agent": "dialout-webhooks",
        "webhook-id": id,
        "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
        "webhook-signature": new Webhook(secret).sign(id, now, body),
      },
      body,
    });
    await response.body?.cancel();
    return { status: response.status };
  } catch (error) {
    // Whoever knows the job's id can read it, so the runtime's own words are left out.
    return { error: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return UNREACHABLE;
  if (error.name === "TimeoutError") return LATE;
  return /connection lost/i.test(error.message) ? BROKEN_OFF : UNREACHABLE;
}
