import { ulid } from "ulid";
import { newSecret, secretHash } from "../auth/secrets.ts";
import type { TokenResource } from "../protocol/resources.ts";

type TokenRow = {
  id: string;
  space: string;
  name: string;
  created_at: number;
  last_used_at: number | null;
};

const COLUMNS = "id, space, name, created_at, last_used_at";

/** The tokens of workers that may serve a space. Only hashes are stored: a copy of the table opens nothing. */
export class WorkerTokens {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** Makes a token. This is the only answer that contains the token itself. */
  async mint(space: string, name: string): Promise<TokenResource> {
    const token = newSecret("dow_", 32);
    const row: TokenRow = { id: ulid(), space, name, created_at: Date.now(), last_used_at: null };
    await this.db
      .prepare(
        "INSERT INTO worker_tokens (id, space, name, hash, created_at) VALUES (?, ?, ?, ?, ?)",
      )
      .bind(row.id, space, name, secretHash(token), row.created_at)
      .run();
    return { ...resourceOf(row), token };
  }

  async list(space: string): Promise<TokenResource[]> {
    const { results } = await this.db
      .prepare(`SELECT ${COLUMNS} FROM worker_tokens WHERE space = ? ORDER BY created_at, id`)
      .bind(space)
      .all<TokenRow>();
    return results.map(resourceOf);
  }

  async has(space: string, id: string): Promise<boolean> {
    const query = "SELECT 1 FROM worker_tokens WHERE space = ? AND id = ?";
    return (await this.db.prepare(query).bind(space, id).first()) !== null;
  }

  async revoke(space: string, id: string): Promise<boolean> {
    const result = await this.db
      .prepare("DELETE FROM worker_tokens WHERE space = ? AND id = ?")
      .bind(space, id)
      .run();
    return result.meta.changes > 0;
  }

  /** Returns the token's id if it is valid for this space, and marks it as used now; otherwise `null`. */
  async verify(space: string, token: string): Promise<string | null> {
    const row = await this.db
      .prepare(
        "UPDATE worker_tokens SET last_used_at = ? WHERE hash = ? AND space = ? RETURNING id",
      )
      .bind(Date.now(), secretHash(token), space)
      .first<{ id: string }>();
    return row?.id ?? null;
  }
}

function resourceOf(row: TokenRow): TokenResource {
  return {
    id: row.id,
    space: row.space,
    name: row.name,
    created_at: new Date(row.created_at).toISOString(),
    last_used_at: row.last_used_at === null ? null : new Date(row.last_used_at).toISOString(),
  };
}
