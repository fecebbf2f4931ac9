import { DEFAULT_SETTINGS, type SpaceSettings, spaceSettings } from "../protocol/resources.ts";

export interface CatalogEntry {
  name: string;
  settings: SpaceSettings;
}

type SpaceRow = { name: string; settings: string };

/** The `visibility` of a row whose space is being deleted: it only says that the object is still to be erased. */
const DELETING = "deleting";

/** The list of all spaces. Each space's object owns its settings (decision 0004); these are copies, for lists. */
export class SpaceCatalog {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /**
   * Returns `false` if the name is taken. The primary key decides, so two requests at once can't both win. The name
   * of a space that is being deleted is free.
   */
  async add({ name, settings }: CatalogEntry): Promise<boolean> {
    const result = await this.db
      .prepare(
        `INSERT INTO spaces (name, title, visibility, settings, created_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET title = excluded.title, visibility = excluded.visibility,
           settings = excluded.settings, created_at = excluded.created_at
         WHERE spaces.visibility = ?`,
      )
      .bind(
        name,
        settings.title,
        settings.visibility,
        JSON.stringify(settings),
        Date.now(),
        DELETING,
      )
      .run();
    return result.meta.changes > 0;
  }

  async get(name: string): Promise<CatalogEntry | null> {
    const row = await this.db
      .prepare("SELECT name, settings FROM spaces WHERE name = ? AND visibility <> ?")
      .bind(name, DELETING)
      .first<SpaceRow>();
    return row ? entryOf(row) : null;
  }

  async has(name: string): Promise<boolean> {
    const row = await this.db
      .prepare("SELECT 1 FROM spaces WHERE name = ? AND visibility <> ?")
      .bind(name, DELETING)
      .first();
    return row !== null;
  }

  /** Spaces in the order of their names; `after` is the last name of the previous page. */
  async list(filter: { all: boolean; after: string; limit: number }): Promise<CatalogEntry[]> {
    const { results } = await this.db
      .prepare(
        `SELECT name, settings FROM spaces
         WHERE name > ?1 AND visibility <> ?4 AND (?2 OR visibility = 'public') ORDER BY name LIMIT ?3`,
      )
      .bind(filter.after, filter.all ? 1 : 0, filter.limit, DELETING)
      .all<SpaceRow>();
    return results.map(entryOf);
  }

  async update({ name, settings }: CatalogEntry): Promise<void> {
    await this.db
      .prepare(
        "UPDATE spaces SET title = ?, visibility = ?, settings = ? WHERE name = ? AND visibility <> ?",
      )
      .bind(settings.title, settings.visibility, JSON.stringify(settings), name, DELETING)
      .run();
  }

  /**
   * Begins to delete a space: from now on the catalogue lists neither it nor its worker tokens. Returns `false` if
   * there is no such space, and `true` also if an earlier deletion of it was cut off.
   */
  async beginDelete(name: string): Promise<boolean> {
    const [, marked] = await this.db.batch([
      this.db.prepare("DELETE FROM worker_tokens WHERE space = ?").bind(name),
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
  return { name: row.name, settings };
}
