import { ulid } from "ulid";
import { z } from "zod";
import type { Principal } from "../auth/principal.ts";
import { newSecret, secretHash } from "../auth/secrets.ts";
import { type CreateKeyBody, type KeyResource, role } from "../protocol/accounts.ts";

/** Every key begins with it, so that scanners of leaked secrets can know one. */
export const KEY_PREFIX = "dok_";
/** How many characters of a key stay readable for its owner. */
const SHOWN = 10;
/** The time of the last use is written at most this often, milliseconds. */
const USE_INTERVAL_MS = 60_000;

type KeyRow = {
  id: string;
  name: string;
  prefix: string;
  user_id: string | null;
  scopes: string;
  space: string | null;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
};
type KeyPrincipal = Extract<Principal, { kind: "key" }>;

const COLUMNS = "id, name, prefix, user_id, scopes, space, created_at, expires_at, last_used_at";
const scopeList = z.array(z.string());

/** The keys of programs. Only hashes are stored: a copy of the table opens nothing. */
export class ApiKeys {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** @param owner the id of the account that it belongs to; `null` for the operator */
  async make(body: CreateKeyBody, owner: string | null): Promise<KeyResource> {
    const key = newSecret(KEY_PREFIX, 32);
    const now = Date.now();
    const row: KeyRow = {
      id: ulid(),
      name: body.name,
      prefix: key.slice(0, SHOWN),
      user_id: owner,
      scopes: JSON.stringify(body.scopes),
      space: body.space ?? null,
      created_at: now,
      expires_at: body.expires_in_s === null ? null : now + body.expires_in_s * 1_000,
      last_used_at: null,
    };
    await this.db
      .prepare(`INSERT INTO api_keys (${COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .bind(
        row.id,
        row.name,
        row.prefix,
        row.user_id,
        row.scopes,
        row.space,
        row.created_at,
        row.expires_at,
        row.last_used_at,
        secretHash(key),
      )
      .run();
    return { ...resourceOf(row), key };
  }

  /** How many keys an owner has. @param owner as for `make` */
  async count(owner: string | null): Promise<number> {
    const count = "SELECT COUNT(*) AS count FROM api_keys WHERE user_id IS ?";
    return (await this.db.prepare(count).bind(owner).first<number>("count")) ?? 0;
  }

  /** Newest first. @param owner as for `make` */
  async list(
    owner: string | null,
    { before, limit }: { before: string; limit: number },
  ): Promise<KeyResource[]> {
    const { results } = await this.db
      .prepare(
        `SELECT ${COLUMNS} FROM api_keys
         WHERE user_id IS ?1 AND (?2 = '' OR id < ?2) ORDER BY id DESC LIMIT ?3`,
      )
      .bind(owner, before, limit)
      .all<KeyRow>();
    return results.map(resourceOf);
  }

  /** Returns `false` if the owner has no such key. */
  async revoke(owner: string | null, id: string): Promise<boolean> {
    const result = await this.db
      .prepare("DELETE FROM api_keys WHERE id = ? AND user_id IS ?")
      .bind(id, owner)
      .run();
    return result.meta.changes > 0;
  }

  /**
   * Returns who a key is, with one read; `null` if it is wrong, revoked or expired, or its owner is disabled.
   *
   * @param later does the write that notes the use; nobody waits for it
   */
  async verify(key: string, later: (use: Promise<unknown>) => void): Promise<KeyPrincipal | null> {
    const now = Date.now();
    const row = await this.db
      .prepare(
        `SELECT k.id, k.user_id, k.scopes, k.space, k.expires_at, k.last_used_at, u.role
         FROM api_keys k LEFT JOIN "user" u ON u.id = k.user_id
         WHERE k.hash = ? AND (k.expires_at IS NULL OR k.expires_at > ?)
           AND (k.user_id IS NULL OR (u.id IS NOT NULL AND u."disabledAt" IS NULL))`,
      )
      .bind(secretHash(key), now)
      .first<Omit<KeyRow, "name" | "prefix" | "created_at"> & { role: string | null }>();
    if (row === null) return null;
    if (now - (row.last_used_at ?? 0) >= USE_INTERVAL_MS) {
      const update = this.db.prepare("UPDATE api_keys SET last_used_at = ? WHERE id = ?");
      later(update.bind(now, row.id).run());
    }
    return {
      kind: "key",
      keyId: row.id,
      userId: row.user_id,
      role: row.user_id === null ? "admin" : role.parse(row.role),
      scopes: scopeList.parse(JSON.parse(row.scopes)),
      space: row.space,
      expiresAt: row.expires_at,
    };
  }
}

function resourceOf(row: KeyRow): KeyResource {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: scopeList.parse(JSON.parse(row.scopes)),
    space: row.space,
    user: row.user_id,
    created_at: new Date(row.created_at).toISOString(),
    expires_at: row.expires_at === null ? null : new Date(row.expires_at).toISOString(),
    last_used_at: row.last_used_at === null ? null : new Date(row.last_used_at).toISOString(),
  };
}
