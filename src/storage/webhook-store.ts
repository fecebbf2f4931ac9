import type { WebhookEvent } from "../protocol/resources.ts";
import type { Instant } from "../queue/job.ts";
import type { Sql } from "./sql.ts";

/** A message to a webhook, sent or still to be sent. */
export type WebhookDelivery = {
  id: string;
  ulid: string;
  event: WebhookEvent;
  url: string;
  /** When it is sent next; `null` once it was delivered or given up. */
  dueAt: Instant | null;
  attempts: number;
  /** The HTTP status of the last answer; `null` if there was none. */
  status: number | null;
  error: string | null;
  createdAt: Instant;
  updatedAt: Instant;
};

const COLUMNS = `id, ulid, event, url, due_at AS dueAt, attempts, status, error,
  created_at AS createdAt, updated_at AS updatedAt`;

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
    delivery: Pick<WebhookDelivery, "id" | "ulid" | "event" | "url"> & { dueAt: Instant },
    now: Instant,
    once: boolean,
  ): void {
    const { id, ulid, event, url, dueAt } = delivery;
    if (once && this.isPending(ulid, event)) return;
    this.sql.run(
      `INSERT INTO webhook_deliveries (id, ulid, event, url, due_at, attempts, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, 0, ?, ?)`,
      id,
      ulid,
      event,
      url,
      dueAt,
      now,
      now,
    );
  }

  /** The messages that are still to be sent, the earliest due first. */
  pending(count: number): (WebhookDelivery & { dueAt: Instant })[] {
    return this.sql.all<WebhookDelivery & { dueAt: Instant }>(
      `SELECT ${COLUMNS} FROM webhook_deliveries WHERE due_at IS NOT NULL ORDER BY due_at LIMIT ?`,
      count,
    );
  }

  ofJob(ulid: string): WebhookDelivery[] {
    const query = `SELECT ${COLUMNS} FROM webhook_deliveries WHERE ulid = ? ORDER BY id`;
    return this.sql.all<WebhookDelivery>(query, ulid);
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
