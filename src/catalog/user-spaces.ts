import { KnownNames } from "../objects/known-names.ts";

/** The spaces to which users submitted jobs: one row for each pair, however many jobs (decision 0060). */
export class UserSpaces {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** In the order of their names. */
  async of(user: string): Promise<string[]> {
    const { results } = await this.db
      .prepare("SELECT space FROM user_spaces WHERE user_id = ? ORDER BY space")
      .bind(user)
      .all<{ space: string }>();
    return results.map(({ space }) => space);
  }

  async add(users: readonly string[], space: string): Promise<void> {
    const insert = "INSERT OR IGNORE INTO user_spaces (user_id, space) VALUES (?, ?)";
    await this.db.batch(users.map((user) => this.db.prepare(insert).bind(user, space)));
  }

  async remove(user: string, space: string): Promise<void> {
    const query = "DELETE FROM user_spaces WHERE user_id = ? AND space = ?";
    await this.db.prepare(query).bind(user, space).run();
  }
}

/** Notes the users of one space, each once in the life of its object. */
export class UserNotes {
  private readonly db: D1Database;
  private readonly space: string;
  private readonly known = new KnownNames();

  constructor(db: D1Database, space: string) {
    this.db = db;
    this.space = space;
  }

  /**
   * Returns `null` if all of them are noted, else a promise that resolves when they are. If that fails they are noted
   * with a later job: a job is not refused because it could not be listed.
   */
  add(users: readonly (string | null | undefined)[]): Promise<void> | null {
    const fresh = new Set<string>();
    for (const user of users) if (user && !this.known.has(user)) fresh.add(user);
    return fresh.size === 0 ? null : this.store([...fresh]);
  }

  private async store(users: readonly string[]): Promise<void> {
    for (const user of users) this.known.add(user);
    try {
      await new UserSpaces(this.db).add(users, this.space);
    } catch (error) {
      for (const user of users) this.known.forget(user);
      console.error("the users of a space could not be noted", error);
    }
  }

  /** Call this when a user's jobs were erased. */
  forget(user: string): void {
    this.known.forget(user);
  }
}
