import { accountOfHolder, parseCredentialName } from "../auth/credential.ts";

/** Which of a holder's credentials still give the rights that their sockets have. @param names as `credentialName` makes them */
export async function validCredentials(
  db: D1Database,
  holder: string,
  names: readonly string[],
): Promise<Set<string>> {
  const userId = accountOfHolder(holder);
  const ids = JSON.stringify(names.map((name) => parseCredentialName(name).id));
  const now = Date.now();
  const [users, sessions, keys] = await db.batch<{ id: string; role?: string }>([
    db.prepare(`SELECT id, role FROM "user" WHERE id = ? AND "disabledAt" IS NULL`).bind(userId),
    db
      .prepare(
        `SELECT id FROM session WHERE "userId" = ? AND "expiresAt" > ?
         AND id IN (SELECT value FROM json_each(?))`,
      )
      .bind(userId, new Date(now).toISOString(), ids),
    db
      .prepare(
        `SELECT id FROM api_keys WHERE user_id IS ? AND (expires_at IS NULL OR expires_at > ?)
         AND id IN (SELECT value FROM json_each(?))`,
      )
      .bind(userId, now, ids),
  ]);
  const role = userId === null ? "admin" : (users?.results[0]?.role ?? null);
  if (role === null) return new Set();
  const known = {
    session: new Set(sessions?.results.map(({ id }) => id)),
    key: new Set(keys?.results.map(({ id }) => id)),
  };
  return new Set(
    names.filter((name) => {
      const { kind, id, asAdmin } = parseCredentialName(name);
      return known[kind].has(id) && (!asAdmin || role === "admin");
    }),
  );
}
