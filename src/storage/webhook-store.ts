import { LIMITS } from "../protocol/limits.ts";
import type { WebhookEvent } from "../protocol/resources.ts";
import type { Instant } from "../queue/job.ts";
import type { Sql } from "./sql.ts";

/** A message to a webhook, sent or still to be sent. */
export type WebhookDelivery = {
  id: string;
  ulid: string;
  event: WebhookEvent;
  url: string;
  /** The origin of `url`: receivers take turns. */
  receiver: string;
  /** When it is sent next; `null` once it was delivered or given up. */
  dueAt: Instant | null;
  attempts: number;
  /** The HTTP status of the last answer; `null` if there was none. */
  status: number | null;
  error: string | null;
  createdAt: Instant;
  updatedAt: Instant;
};

const COLUMNS = `id, ulid, event, url, receiver, due_at AS dueAt, attempts, status, error,
  created_at AS createdAt, updated_at AS updatedAt`;

/** More receivers than this don't take turns at once: choosing one must stay quick. */
const MAX_RECEIVERS = 1_000;

/** Stores the messages to webhooks, and what became of them. */
export class WebhookStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /**
   * Adds a message.
   *
   * @param once adds nothing while a message of the same job and event was not tried yet: that one will have
   *   the job's state at the time it is sent
   */
  add(
    delivery: Pick<WebhookDelivery, "id" | "ulid" | "event" | "url" | "receiver"> & {
      dueAt: Instant;
    },
    now: Instant,
    once: boolean,
  ): void {
    const { id, ulid, event, url, receiver, dueAt } = delivery;
    if (once && this.isPending(ulid, event)) return;
    this.sql.run(
      `INSERT INTO webhook_deliveries (id, ulid, event, url, receiver, due_at, attempts, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)`,
      id,
      ulid,
      event,
      url,
      receiver,
      dueAt,
      now,
      now,
    );
  }

  /** The receivers with messages that are still to be sent, and when the first message of each is due. */
  waitingReceivers(): { receiver: string; dueAt: Instant }[] {
    // Jumps from one receiver to the next in the index, however many messages each has.
    return this.sql.all<{ receiver: string; dueAt: Instant }>(
      `WITH RECURSIVE known (receiver) AS (
         SELECT MIN(receiver) FROM webhook_deliveries WHERE due_at IS NOT NULL
         UNION ALL
         SELECT (SELECT MIN(receiver) FROM webhook_deliveries
                 WHERE due_at IS NOT NULL AND receiver > known.receiver)
         FROM known WHERE known.receiver IS NOT NULL LIMIT ?
       )
       SELECT receiver, (SELECT MIN(due_at) FROM webhook_deliveries AS pending
                         WHERE pending.receiver = known.receiver AND due_at IS NOT NULL) AS dueAt
       FROM known WHERE receiver IS NOT NULL`,
      MAX_RECEIVERS,
    );
  }

  /** The messages to a receiver that are still to be sent, the earliest due first. */
  pendingOf(receiver: string, count: number): (WebhookDelivery & { dueAt: Instant })[] {
    return this.sql.all<WebhookDelivery & { dueAt: Instant }>(
      `SELECT ${COLUMNS} FROM webhook_deliveries
       WHERE receiver = ? AND due_at IS NOT NULL ORDER BY due_at LIMIT ?`,
      receiver,
      count,
    );
  }

  /** The latest messages about a job, the oldest first: one that streams for days causes hundreds of thousands. */
  ofJob(ulid: string): WebhookDelivery[] {
    const query = `SELECT ${COLUMNS} FROM webhook_deliveries WHERE ulid = ? ORDER BY id DESC LIMIT ?`;
    return this.sql.all<WebhookDelivery>(query, ulid, LIMITS.listedDeliveries).reverse();
  }

  /** Stores the result of an attempt; the message is sent again at `dueAt`, or never if that is `null`. */
  recordAttempt(
    id: string,
    result: { status: number | null; error: string | null; dueAt: Instant | null },
    now: Instant,
  ): void {
    this.sql.run(
      `UPDATE webhook_deliveries
       SET attempts = attempts + 1, status = ?, error = ?, due_at = ?, updated_at = ? WHERE id = ?`,
      result.status,
      result.error,
      result.dueAt,
      now,
      id,
    );
  }

  /** Sends a message later, without counting an attempt. */
  postpone(id: string, dueAt: Instant): void {
    this.sql.run("UPDATE webhook_deliveries SET due_at = ? WHERE id = ?", dueAt, id);
  }

  private isPending(ulid: string, event: WebhookEvent): boolean {
    const rows = this.sql.all(
      `SELECT 1 AS found FROM webhook_deliveries
       WHERE ulid = ? AND event = ? AND due_at IS NOT NULL AND attempts = 0`,
      ulid,
      event,
    );
    return rows.length > 0;
  }
}
