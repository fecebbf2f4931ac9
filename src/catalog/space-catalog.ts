import type { MemberAccess } from "../protocol/members.ts";
import { DEFAULT_SETTINGS, type SpaceSettings, spaceSettings } from "../protocol/resources.ts";

export interface CatalogEntry {
  name: string;
  settings: SpaceSettings;
  /** The id of the account that owns it; `null`: the operator. */
  owner: string | null;
}

/** Which spaces a list has: those that are public, and those that somebody owns, is a member of or has a token for. */
export interface SpaceListFilter {
  all: boolean;
  userId: string | null;
  /** Patterns of a user's token; they decide alone then. */
  spaces: readonly string[] | null;
  after: string;
  limit: number;
  /** Leaves out what `listOf` lists for this user; without it nothing is left out. */
  notOf?: string;
}

type SpaceRow = { name: string; settings: string; owner: string | null };

/** The `visibility` of a row whose space is being deleted: it only says that the object is still to be erased. */
const DELETING = "deleting";

/** The list of all spaces. Each space's object owns its settings (decision 0004); these are copies, for lists. */
export class SpaceCatalog {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /**
   * Adds a space. The primary key decides whether its name is taken, so two requests at once can't both win. The name
   * of a space that is being deleted is free.
   *
   * @param most how many spaces its owner may have
   */
  async add(
    { name, settings, owner }: CatalogEntry,
    most: number | null = null,
  ): Promise<"added" | "exists" | "too_many"> {
    const results = await this.db.batch([
      // A deletion that was cut off has left its members here.
      this.db
        .prepare(
          `DELETE FROM space_members WHERE space IN
             (SELECT name FROM spaces WHERE name = ? AND visibility = ?)`,
        )
        .bind(name, DELETING),
      this.db
        .prepare(
          `INSERT INTO spaces (name, title, visibility, settings, created_at, owner)
           SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE ?8 IS NULL
             OR (SELECT COUNT(*) FROM spaces WHERE owner = ?6 AND visibility <> ?7) < ?8
           ON CONFLICT (name) DO UPDATE SET title = excluded.title, visibility = excluded.visibility,
             settings = excluded.settings, created_at = excluded.created_at, owner = excluded.owner
           WHERE spaces.visibility = ?7`,
        )
        .bind(
          name,
          settings.title,
          settings.visibility,
          JSON.stringify(settings),
          Date.now(),
          owner,
          DELETING,
          most,
        ),
    ]);
    if ((results[1]?.meta.changes ?? 0) > 0) return "added";
    return (await this.has(name)) ? "exists" : "too_many";
  }

  /** How many spaces the account owns. */
  async countOf(owner: string): Promise<number> {
    const query = "SELECT COUNT(*) AS count FROM spaces WHERE owner = ? AND visibility <> ?";
    const row = await this.db.prepare(query).bind(owner, DELETING).first<{ count: number }>();
    return row?.count ?? 0;
  }

  /** The names of spaces that the account owns, the first of them. */
  async ownedBy(owner: string, limit: number): Promise<string[]> {
    const query =
      "SELECT name FROM spaces WHERE owner = ? AND visibility <> ? ORDER BY name LIMIT ?";
    const { results } = await this.db
      .prepare(query)
      .bind(owner, DELETING, limit)
      .all<{ name: string }>();
    return results.map(({ name }) => name);
  }

  /** The names of the spaces that the user is a member of. */
  async sharedWith(user: string): Promise<string[]> {
    const query = "SELECT space FROM space_members WHERE user_id = ? ORDER BY space";
    const { results } = await this.db.prepare(query).bind(user).all<{ space: string }>();
    return results.map(({ space }) => space);
  }

  /** Gives every space that has no owner to the first admin; returns their names. */
  async adoptAll(owner: string): Promise<string[]> {
    const { results } = await this.db
      .prepare("UPDATE spaces SET owner = ? WHERE owner IS NULL RETURNING name")
      .bind(owner)
      .all<{ name: string }>();
    return results.map(({ name }) => name);
  }

  async get(name: string): Promise<CatalogEntry | null> {
    const row = await this.db
      .prepare("SELECT name, settings, owner FROM spaces WHERE name = ? AND visibility <> ?")
      .bind(name, DELETING)
      .first<SpaceRow>();
    return row ? entryOf(row) : null;
  }

  /** The id of the account that owns the space; `null`: the operator. */
  async ownerOf(name: string): Promise<string | null> {
    const query = "SELECT owner FROM spaces WHERE name = ?";
    const row = await this.db.prepare(query).bind(name).first<{ owner: string | null }>();
    return row?.owner ?? null;
  }

  async has(name: string): Promise<boolean> {
    const row = await this.db
      .prepare("SELECT 1 FROM spaces WHERE name = ? AND visibility <> ?")
      .bind(name, DELETING)
      .first();
    return row !== null;
  }

  /** Spaces in the order of their names; `after` is the last name of the previous page. */
  async list(filter: SpaceListFilter): Promise<CatalogEntry[]> {
    const { all, userId, spaces, after, limit, notOf = null } = filter;
    // A token's patterns have no other character that means something to GLOB than the `*` at their end.
    const { results } = await this.db
      .prepare(
        `SELECT name, settings, owner FROM spaces
         WHERE name > ?1 AND visibility <> ?4 AND (?2 OR visibility = 'public' OR owner = ?5
           OR name IN (SELECT space FROM space_members WHERE user_id = ?5)
           OR EXISTS (SELECT 1 FROM json_each(?6) WHERE spaces.name GLOB value))
           AND (?7 IS NULL OR NOT (owner IS ?7
             OR name IN (SELECT space FROM space_members WHERE user_id = ?7)))
         ORDER BY name LIMIT ?3`,
      )
      .bind(
        after,
        all ? 1 : 0,
        limit,
        DELETING,
        spaces === null ? userId : null,
        JSON.stringify(spaces ?? []),
        notOf,
      )
      .all<SpaceRow>();
    return results.map(entryOf);
  }

  /** The spaces that somebody owns or is a member of, in the order of their names. */
  async listOf(userId: string, after: string, limit: number): Promise<CatalogEntry[]> {
    // Found by the two indexes, so that the spaces of everybody else are not read.
    const { results } = await this.db
      .prepare(
        `SELECT name, settings, owner FROM spaces
         WHERE name IN (SELECT name FROM spaces WHERE owner = ?1
           UNION SELECT space FROM space_members WHERE user_id = ?1)
           AND name > ?2 AND visibility <> ?4
         ORDER BY name LIMIT ?3`,
      )
      .bind(userId, after, limit, DELETING)
      .all<SpaceRow>();
    return results.map(entryOf);
  }

  async update({ name, settings, owner }: CatalogEntry): Promise<void> {
    const { title, visibility } = settings;
    await this.db.batch([
      this.db
        .prepare(
          "UPDATE spaces SET title = ?, visibility = ?, settings = ?, owner = ? WHERE name = ? AND visibility <> ?",
        )
        .bind(title, visibility, JSON.stringify(settings), owner, name, DELETING),
      this.db
        .prepare("DELETE FROM space_members WHERE space = ? AND user_id = ?")
        .bind(name, owner ?? ""),
    ]);
  }

  /** Copies what a member may, as the space's object has decided it; `null`: the user is none any more. */
  async setMember(space: string, user: string, access: MemberAccess | null): Promise<void> {
    const statement =
      access === null
        ? this.db
            .prepare("DELETE FROM space_members WHERE space = ? AND user_id = ?")
            .bind(space, user)
        : this.db
            .prepare(
              `INSERT INTO space_members (space, user_id, access) VALUES (?, ?, ?)
               ON CONFLICT DO UPDATE SET access = excluded.access`,
            )
            .bind(space, user, access);
    await statement.run();
  }

  /**
   * Begins to delete a space: from now on the catalogue lists neither it nor its worker tokens. Returns `false` if
   * there is no such space, and `true` also if an earlier deletion of it was cut off.
   */
  async beginDelete(name: string): Promise<boolean> {
    const [, , , marked] = await this.db.batch([
      this.db.prepare("DELETE FROM user_spaces WHERE space = ?").bind(name),
      this.db.prepare("DELETE FROM worker_tokens WHERE space = ?").bind(name),
      this.db.prepare("DELETE FROM space_members WHERE space = ?").bind(name),
      this.db.prepare("UPDATE spaces SET visibility = ? WHERE name = ?").bind(DELETING, name),
    ]);
    return (marked?.meta.changes ?? 0) > 0;
  }

  /** Ends what `beginDelete` began, once the space's object is erased. */
  async endDelete(name: string): Promise<void> {
    const query = "DELETE FROM spaces WHERE name = ? AND visibility = ?";
    await this.db.prepare(query).bind(name, DELETING).run();
  }
}

function entryOf(row: SpaceRow): CatalogEntry {
  const settings = spaceSettings.parse({ ...DEFAULT_SETTINGS, ...JSON.parse(row.settings) });
  return { name: row.name, settings, owner: row.owner };
}
