import { Webhook } from "standardwebhooks";
import type { WebhookEvent } from "../protocol/resources.ts";
import type { DeliveryOutcome } from "./retry.ts";

const ANSWER_WITHIN_MS = 10_000;

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
    return { error: reasonOf(error) };
  }
}

/** The runtime has no other words for a host that doesn't exist, or on which nothing listens. */
const UNEXPLAINED = /^internal error\b/;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "no answer";
  if (!UNEXPLAINED.test(error.message)) return error.message.slice(0, 200);
  return "The address can't be reached: there is no such host, or it takes no connection.";
}
