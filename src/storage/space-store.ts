import type { MemberAccess } from "../protocol/members.ts";
import { DEFAULT_SETTINGS, type SpaceSettings, spaceSettings } from "../protocol/resources.ts";
import type { Sql } from "./sql.ts";

/** A space as it is stored. Times are milliseconds since 1970. */
export interface SpaceRecord {
  name: string;
  settings: SpaceSettings;
  createdAt: number;
  updatedAt: number;
  /** The id of the owner's account; `null`: the operator. */
  owner: string | null;
  /** What members may, by the id of their account. */
  members: ReadonlyMap<string, MemberAccess>;
}

/** How many jobs ended in which way. */
export type EndCounts = { completed: number; failed: number; canceled: number };

type SpaceStateRow = {
  name: string;
  settings: string;
  created_at: number;
  updated_at: number;
  owner: string | null;
};

/** Stores what a space has besides its jobs: one row. */
export class SpaceStore {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** `null` if the space was never made. Settings that didn't exist when the row was written get their defaults. */
  read(): SpaceRecord | null {
    const row = this.sql.all<SpaceStateRow>(
      "SELECT name, settings, created_at, updated_at, owner FROM space",
    )[0];
    if (!row) return null;
    const settings = spaceSettings.parse({ ...DEFAULT_SETTINGS, ...JSON.parse(row.settings) });
    const { name, created_at: createdAt, updated_at: updatedAt, owner } = row;
    return { name, settings, createdAt, updatedAt, owner, members: this.members() };
  }

  write(space: SpaceRecord): void {
    this.sql.run(
      `INSERT INTO space (only, name, settings, generation, created_at, updated_at, owner, is_owner_known)
       VALUES (1, ?, ?, 0, ?, ?, ?, 1)
       ON CONFLICT (only) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at,
         owner = excluded.owner`,
      space.name,
      JSON.stringify(space.settings),
      space.createdAt,
      space.updatedAt,
      space.owner,
    );
  }

  /** `false` for a space that is older than owners, until `adopt`. */
  isOwnerKnown(): boolean {
    const query = "SELECT is_owner_known AS known FROM space";
    return this.sql.all<{ known: number }>(query)[0]?.known === 1;
  }

  /** Gives the space to a first owner. */
  adopt(owner: string | null): void {
    this.sql.run("UPDATE space SET owner = ?, is_owner_known = 1", owner);
  }

  private members(): Map<string, MemberAccess> {
    const rows = this.sql.all<{ user: string; access: MemberAccess }>(
      "SELECT user_id AS user, access FROM members ORDER BY user_id",
    );
    return new Map(rows.map(({ user, access }) => [user, access]));
  }

  putMember(user: string, access: MemberAccess): void {
    this.sql.run(
      "INSERT INTO members (user_id, access) VALUES (?, ?) ON CONFLICT DO UPDATE SET access = excluded.access",
      user,
      access,
    );
  }

  removeMember(user: string): void {
    this.sql.run("DELETE FROM members WHERE user_id = ?", user);
  }

  /** The schema that the space's newest worker declared, as JSON text; version 0 before the first. */
  schema(): { version: number; text: string | null } {
    const query = "SELECT version, schema AS text FROM space_schema";
    const [row] = this.sql.all<{ version: number; text: string | null }>(query);
    return row ?? { version: 0, text: null };
  }

  keepSchema(version: number, text: string | null): void {
    this.sql.run(
      `INSERT INTO space_schema (only, version, schema) VALUES (1, ?, ?)
       ON CONFLICT (only) DO UPDATE SET version = excluded.version, schema = excluded.schema`,
      version,
      text,
    );
  }

  webhookSecret(): string | null {
    const query = "SELECT webhook_secret AS secret FROM space";
    return this.sql.all<{ secret: string | null }>(query)[0]?.secret ?? null;
  }

  keepWebhookSecret(secret: string): void {
    this.sql.run("UPDATE space SET webhook_secret = ?", secret);
  }

  /** The storage that finished jobs take, bytes, as it was last stored with `keepBytes`. */
  keptBytes(): number {
    return this.sql.all<{ bytes: number }>("SELECT kept_bytes AS bytes FROM space")[0]?.bytes ?? 0;
  }

  keepBytes(bytes: number): void {
    this.sql.run("UPDATE space SET kept_bytes = ?", bytes);
  }

  /** How all jobs that ever ended did, including those that were erased. */
  ends(): EndCounts {
    const query = "SELECT completed, failed, canceled FROM space";
    return this.sql.all<EndCounts>(query)[0] ?? { completed: 0, failed: 0, canceled: 0 };
  }

  /** Adds to the counts of ended jobs. */
  countEnds({ completed, failed, canceled }: EndCounts): void {
    this.sql.run(
      "UPDATE space SET completed = completed + ?, failed = failed + ?, canceled = canceled + ?",
      completed,
      failed,
      canceled,
    );
  }

  /** For how long the edge was away in all of the space's life, milliseconds (decision 0040). */
  awayMs(): number {
    return this.sql.all<{ away: number }>("SELECT away_ms AS away FROM space")[0]?.away ?? 0;
  }

  addAway(ms: number): void {
    this.sql.run("UPDATE space SET away_ms = away_ms + ?", ms);
  }

  /** Returns a new generation for a worker's connection. Frames of connections before it are stale. */
  nextGeneration(): number {
    const [row] = this.sql.all<{ generation: number }>(
      "UPDATE space SET generation = generation + 1 RETURNING generation",
    );
    if (!row) throw new Error("a space that was never made has no generation");
    return row.generation;
  }
}
