import { ulid } from "ulid";
import { newSecret, secretHash } from "../auth/secrets.ts";
import type { InvitationResource, Role } from "../protocol/accounts.ts";

type InvitationRow = {
  id: string;
  email: string | null;
  role: Role;
  created_at: number;
  expires_at: number;
  used_at: number | null;
};

const COLUMNS = "id, email, role, created_at, expires_at, used_at";

/** What an invitation gives to whoever takes it. */
export interface Invitation {
  id: string;
  role: Role;
}

/** Codes that let one person each make an account. Only hashes are stored. */
export class Invitations {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** @param by the id of the admin who invites; `null` for the operator's key */
  async make(
    { email, role, expires_in_s }: { email?: string | undefined; role: Role; expires_in_s: number },
    by: string | null,
  ): Promise<InvitationResource> {
    const code = newSecret("doi_", 24);
    const now = Date.now();
    const row: InvitationRow = {
      id: ulid(),
      email: email?.toLowerCase() ?? null,
      role,
      created_at: now,
      expires_at: now + expires_in_s * 1_000,
      used_at: null,
    };
    await this.db
      .prepare(
        `INSERT INTO invitations (id, hash, email, role, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .bind(row.id, secretHash(code), row.email, role, by, now, row.expires_at)
      .run();
    return { ...resourceOf(row), code };
  }

  /** Newest first; `before` is the last id of the previous page, or empty. */
  async list({ before, limit }: { before: string; limit: number }): Promise<InvitationResource[]> {
    const { results } = await this.db
      .prepare(
        `SELECT ${COLUMNS} FROM invitations WHERE ?1 = '' OR id < ?1 ORDER BY id DESC LIMIT ?2`,
      )
      .bind(before, limit)
      .all<InvitationRow>();
    return results.map(resourceOf);
  }

  async remove(id: string): Promise<boolean> {
    const result = await this.db.prepare("DELETE FROM invitations WHERE id = ?").bind(id).run();
    return result.meta.changes > 0;
  }

  /**
   * Takes an invitation, which nobody else can take from then on; `null` if the code is not good for this address.
   * It is only as good as whoever made it: one who is no admin any more could otherwise come back as another.
   */
  async take(code: string, email: string): Promise<Invitation | null> {
    const now = Date.now();
    return this.db
      .prepare(
        `UPDATE invitations SET used_at = ?1
         WHERE hash = ?2 AND used_at IS NULL AND expires_at > ?1 AND (email IS NULL OR email = ?3)
           AND (created_by IS NULL OR created_by IN
             (SELECT id FROM "user" WHERE role = 'admin' AND "disabledAt" IS NULL))
         RETURNING id, role`,
      )
      .bind(now, secretHash(code), email.toLowerCase())
      .first<Invitation>();
  }

  /** Gives an invitation back: the account it was taken for was not made. */
  async giveBack(id: string): Promise<void> {
    await this.db.prepare("UPDATE invitations SET used_at = NULL WHERE id = ?").bind(id).run();
  }
}

function resourceOf(row: InvitationRow): InvitationResource {
  return {
    id: row.id,
    email: row.email,
    role: row.role,
    created_at: new Date(row.created_at).toISOString(),
    expires_at: new Date(row.expires_at).toISOString(),
    used_at: row.used_at === null ? null : new Date(row.used_at).toISOString(),
  };
}
