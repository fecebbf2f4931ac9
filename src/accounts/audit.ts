import { decodeTime, ulid } from "ulid";
import type { Principal } from "../auth/principal.ts";
import { type AuditAction, type AuditEntry, auditEntry } from "../protocol/accounts.ts";

type AuditRow = Omit<AuditEntry, "at" | "details"> & { details: string };

const COLUMNS = "id, actor_kind, actor, action, target, address, details";
const DAY_MS = 86_400_000;
/** Old entries that one new entry erases: more than one, so that the table shrinks; few, so that nobody waits. */
const ERASED_AT_ONCE = 20;

export interface AuditFilter {
  actor?: string | undefined;
  action?: AuditAction | undefined;
  target?: string | undefined;
  /** Milliseconds since 1970. */
  from?: number | undefined;
  until?: number | undefined;
}

/** The record of what people and programs changed. */
export class Audit {
  private readonly db: D1Database;
  private readonly keptDays: number;

  constructor({ DB, AUDIT_DAYS = "90" }: { DB: D1Database; AUDIT_DAYS?: string }) {
    this.db = DB;
    this.keptDays = Number(AUDIT_DAYS);
  }

  /** @param target what it was done to, such as `space:demo` */
  async add(
    by: Actor,
    action: AuditAction,
    target: string,
    { address, details = {} }: { address: string; details?: Record<string, unknown> },
  ): Promise<void> {
    const now = Date.now();
    await this.db.batch([
      this.db
        .prepare(`INSERT INTO audit (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)`)
        .bind(ulid(now), by.kind, by.id, action, target, address, JSON.stringify(details)),
      this.db
        .prepare(
          "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ? ORDER BY id LIMIT ?)",
        )
        .bind(firstIdAt(now - this.keptDays * DAY_MS), ERASED_AT_ONCE),
    ]);
  }

  /** Newest first; `before` is the last id of the previous page, or empty. */
  async list(
    filter: AuditFilter,
    { before, limit }: { before: string; limit: number },
  ): Promise<AuditEntry[]> {
    const { actor, action, target, from, until } = filter;
    const oldest = Math.max(from ?? 0, Date.now() - this.keptDays * DAY_MS);
    const { results } = await this.db
      .prepare(
        `SELECT ${COLUMNS} FROM audit
         WHERE id >= ?1 AND (?2 = '' OR id < ?2) AND (?3 IS NULL OR id < ?3)
           AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR action = ?5) AND (?6 IS NULL OR target = ?6)
         ORDER BY id DESC LIMIT ?7`,
      )
      .bind(
        firstIdAt(oldest),
        before,
        until === undefined ? null : firstIdAt(until),
        actor ?? null,
        action ?? null,
        target ?? null,
        limit,
      )
      .all<AuditRow>();
    return results.map(({ details, ...row }) =>
      auditEntry.parse({
        ...row,
        at: new Date(decodeTime(row.id)).toISOString(),
        details: JSON.parse(details),
      }),
    );
  }
}

/** The person or program that did what an entry records. */
export interface Actor {
  kind: Principal["kind"];
  /** The id of the user or key; `null`: the operator, or nobody that is known. */
  id: string | null;
}

export function actorOf(principal: Principal): Actor {
  const { kind } = principal;
  if (kind === "operator" || kind === "anonymous") return { kind, id: null };
  return { kind, id: kind === "key" ? principal.keyId : principal.userId };
}

/** The lowest id that an entry of that time can have. */
function firstIdAt(time: number): string {
  return `${ulid(Math.max(0, time)).slice(0, 10)}0000000000000000`;
}
