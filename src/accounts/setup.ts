import { isOneOf, type OperatorKeys, operatorKeys } from "../auth/operator.ts";
import { setupCode } from "../auth/setup-code.ts";

/** How long a claim lasts whose maker made no admin: it was interrupted. */
const CLAIM_MS = 60_000;

/** The making of the first admin, which only one can do. */
export class Setup {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** Returns `false` if there is an admin, or somebody else is making one now. */
  async claim(): Promise<boolean> {
    const now = Date.now();
    const { meta } = await this.db
      .prepare(
        `INSERT INTO setup (id, claimed_at) SELECT 1, ?1
         WHERE NOT EXISTS (SELECT 1 FROM "user" WHERE role = 'admin')
         ON CONFLICT (id) DO UPDATE SET claimed_at = ?1 WHERE claimed_at < ?1 - ?2`,
      )
      .bind(now, CLAIM_MS)
      .run();
    return meta.changes > 0;
  }

  /** Lets others try: no admin was made. */
  async release(): Promise<void> {
    await this.db.prepare("DELETE FROM setup").run();
  }
}

/** Whether the key is the operator's, or the code that `npm start` prints. */
export function isSetupKey(given: string, settings: OperatorKeys): boolean {
  const keys = operatorKeys(settings);
  return isOneOf(given, [...keys, ...keys.map(setupCode)]);
}
