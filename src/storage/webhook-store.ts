import type { WebhookEvent } from "../protocol/resources.ts";
import type { Instant } from "../queue/job.ts";
import type { Sql } from "./sql.ts";

/** One thing to tell, or told, to one endpoint. */
export type WebhookDelivery = {
  id: string;
  ulid: string;
  event: WebhookEvent;
  url: string;
  /** When it is next to be told; `null` once it was heard or given up. */
  dueAt: Instant | null;
  attempts: number;
  /** The last answer's status; `null` where none came. */
  status: number | null;
  error: string | null;
  createdAt: Instant;
  updatedAt: Instant;
};

const COLUMNS = `id, ulid, event, url, due_at AS dueAt, attempts, status, error,
  created_at AS createdAt, updated_at AS updatedAt`;

/** What webhooks have to tell, and what became of it. */
export class WebhookStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** `once`: not while the same is still to be told; what is told is the job as it is then. */
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

  /** The next to be told, the longest due first. */
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

  /** Notes an attempt; it is told again at `dueAt`. */
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
