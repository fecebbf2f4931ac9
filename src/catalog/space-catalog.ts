import { DEFAULT_SETTINGS, type SpaceSettings, spaceSettings } from "../protocol/resources.ts";

export interface CatalogEntry {
  name: string;
  settings: SpaceSettings;
}

type SpaceRow = { name: string; settings: string };

/** The list of all spaces. Each space's object owns its settings (decision 0004); these are copies, for lists. */
export class SpaceCatalog {
  private readonly db: D1Database;

  constructor(db: D1Database) {
    this.db = db;
  }

  /** Returns `false` if the name is taken. The primary key decides, so two requests at once can't both win. */
  async add({ name, settings }: CatalogEntry): Promise<boolean> {
    const result = await this.db
      .prepare(
        `INSERT INTO spaces (name, title, visibility, settings, created_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO NOTHING`,
      )
      .bind(name, settings.title, settings.visibility, JSON.stringify(settings), Date.now())
      .run();
    return result.meta.changes > 0;
  }

  async get(name: string): Promise<CatalogEntry | null> {
    const row = await this.db
      .prepare("SELECT name, settings FROM spaces WHERE name = ?")
      .bind(name)
      .first<SpaceRow>();
    return row ? entryOf(row) : null;
  }

  /** Spaces in the order of their names; `after` is the last name of the previous page. */
  async list(filter: { all: boolean; after: string; limit: number }): Promise<CatalogEntry[]> {
    const { results } = await this.db
      .prepare(
        `SELECT name, settings FROM spaces WHERE name > ?1 AND (?2 OR visibility = 'public')
         ORDER BY name LIMIT ?3`,
      )
      .bind(filter.after, filter.all ? 1 : 0, filter.limit)
      .all<SpaceRow>();
    return results.map(entryOf);
  }

  async update({ name, settings }: CatalogEntry): Promise<void> {
    await this.db
      .prepare("UPDATE spaces SET title = ?, visibility = ?, settings = ? WHERE name = ?")
      .bind(settings.title, settings.visibility, JSON.stringify(settings), name)
      .run();
  }

  /** Removes a space and its worker tokens; returns `false` if there was no such space. */
  async remove(name: string): Promise<boolean> {
    const [, removed] = await this.db.batch([
      this.db.prepare("DELETE FROM worker_tokens WHERE space = ?").bind(name),
      this.db.prepare("DELETE FROM spaces WHERE name = ?").bind(name),
    ]);
    return (removed?.meta.changes ?? 0) > 0;
  }
}

function entryOf(row: SpaceRow): CatalogEntry {
  const settings = spaceSettings.parse({ ...DEFAULT_SETTINGS, ...JSON.parse(row.settings) });
  return { name: row.name, settings };
}
