import type { Role, SessionResource, UserPatch, UserResource } from "../protocol/accounts.ts";

/** Better Auth writes times as ISO text. */
type UserRow = {
  id: string;
  name: string;
  email: string;
  role: Role;
  createdAt: string;
  disabledAt: string | null;
};
type SessionRow = {
  id: string;
  ipAddress: string | null;
  userAgent: string | null;
  createdAt: string;
  expiresAt: string;
};

const COLUMNS = 'id, name, email, role, "createdAt", "disabledAt"';
const ACTIVE_ADMINS = `SELECT COUNT(*) FROM "user" WHERE role = 'admin' AND "disabledAt" IS NULL`;

/** The accounts and their sessions, for their owners and for admins. Better Auth makes the rows. */
export class Users {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** In the order of their ids; `after` is the last id of the previous page. */
  async list({ after, limit }: { after: string; limit: number }): Promise<UserResource[]> {
    const { results } = await this.db
      .prepare(`SELECT ${COLUMNS} FROM "user" WHERE id > ? ORDER BY id LIMIT ?`)
      .bind(after, limit)
      .all<UserRow>();
    return results.map(resourceOf);
  }

  async get(id: string): Promise<UserResource | null> {
    const row = await this.db
      .prepare(`SELECT ${COLUMNS} FROM "user" WHERE id = ?`)
      .bind(id)
      .first<UserRow>();
    return row ? resourceOf(row) : null;
  }

  /** The account with this id or email address, if it can be used. */
  async find(idOrEmail: string): Promise<UserResource | null> {
    const row = await this.db
      .prepare(
        `SELECT ${COLUMNS} FROM "user" WHERE (id = ? OR email = ?) AND "disabledAt" IS NULL LIMIT 1`,
      )
      .bind(idOrEmail, idOrEmail.toLowerCase())
      .first<UserRow>();
    return row ? resourceOf(row) : null;
  }

  /** The id of the admin whose account is the oldest. */
  async firstAdmin(): Promise<string | null> {
    const query = `SELECT id FROM "user" WHERE role = 'admin' ORDER BY "createdAt", id LIMIT 1`;
    return (await this.db.prepare(query).first<{ id: string }>())?.id ?? null;
  }

  /** The names of accounts, by their ids. */
  async names(ids: readonly string[]): Promise<Map<string, string>> {
    const { results } = await this.db
      .prepare('SELECT id, name FROM "user" WHERE id IN (SELECT value FROM json_each(?))')
      .bind(JSON.stringify(ids))
      .all<{ id: string; name: string }>();
    return new Map(results.map(({ id, name }) => [id, name]));
  }

  /** Whether there is an admin who can sign in. */
  async haveAdmin(): Promise<boolean> {
    return (await this.db.prepare(`SELECT (${ACTIVE_ADMINS}) AS count`).first("count")) !== 0;
  }

  /**
   * Changes an account; a disabled one loses its sessions. Returns `null` if there is no such account, and
   * `"last_admin"` if the change would leave no admin.
   */
  async change(
    id: string,
    { role, disabled }: UserPatch,
  ): Promise<UserResource | "last_admin" | null> {
    const now = new Date().toISOString();
    const endsAdmin = role === "member" || disabled === true;
    // One statement, so that two admins who demote each other can't both succeed.
    const [changed] = await this.db.batch<UserRow>([
      this.db
        .prepare(
          `UPDATE "user" SET role = COALESCE(?2, role), "updatedAt" = ?3,
             "disabledAt" = CASE ?4 WHEN 1 THEN COALESCE("disabledAt", ?3) WHEN 0 THEN NULL ELSE "disabledAt" END
           WHERE id = ?1 AND NOT (?5 AND role = 'admin' AND "disabledAt" IS NULL AND (${ACTIVE_ADMINS}) <= 1)
           RETURNING ${COLUMNS}`,
        )
        .bind(
          id,
          role ?? null,
          now,
          disabled === undefined ? null : Number(disabled),
          Number(endsAdmin),
        ),
      this.db
        .prepare(
          `DELETE FROM session WHERE "userId" = (SELECT id FROM "user" WHERE id = ? AND "disabledAt" IS NOT NULL)`,
        )
        .bind(id),
    ]);
    const [row] = changed?.results ?? [];
    if (row) return resourceOf(row);
    return (await this.get(id)) === null ? null : "last_admin";
  }

  async sessions(userId: string, currentId: string): Promise<SessionResource[]> {
    const { results } = await this.db
      .prepare(
        `SELECT id, "ipAddress", "userAgent", "createdAt", "expiresAt" FROM session
         WHERE "userId" = ? AND "expiresAt" > ? ORDER BY "createdAt" DESC LIMIT 100`,
      )
      .bind(userId, new Date().toISOString())
      .all<SessionRow>();
    return results.map((row) => ({
      id: row.id,
      current: row.id === currentId,
      address: row.ipAddress || null,
      user_agent: row.userAgent || null,
      created_at: row.createdAt,
      expires_at: row.expiresAt,
    }));
  }

  /** Returns `false` if the user has no such session. */
  async endSession(userId: string, id: string): Promise<boolean> {
    const result = await this.db
      .prepare(`DELETE FROM session WHERE "userId" = ? AND id = ?`)
      .bind(userId, id)
      .run();
    return result.meta.changes > 0;
  }

  async endOtherSessions(userId: string, currentId: string): Promise<void> {
    await this.db
      .prepare(`DELETE FROM session WHERE "userId" = ? AND id <> ?`)
      .bind(userId, currentId)
      .run();
  }
}

export async function isDisabled(db: D1Database, userId: string): Promise<boolean> {
  const row = await db
    .prepare(`SELECT 1 FROM "user" WHERE id = ? AND "disabledAt" IS NOT NULL`)
    .bind(userId)
    .first();
  return row !== null;
}

function resourceOf(row: UserRow): UserResource {
  const { id, name, email, role } = row;
  return { id, name, email, role, created_at: row.createdAt, disabled_at: row.disabledAt };
}
