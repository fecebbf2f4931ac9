import { DurableObject } from "cloudflare:workers";

/** Writes one row with the given text for each call. */
export class RowObject extends DurableObject<unknown> {
  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, text TEXT)");
  }

  async write(text: string): Promise<number> {
    const rows = this.ctx.storage.sql.exec<{ id: number }>(
      "INSERT INTO entries (text) VALUES (?) RETURNING id",
      text,
    );
    return rows.one().id;
  }
}
