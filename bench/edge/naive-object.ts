import { RelayObject, type RelayResultFrame, type RelaySubmitFrame } from "./relay-object.ts";

/** The relay, which also writes each step to SQLite as it happens. */
export class NaiveObject extends RelayObject {
  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, status TEXT, input TEXT, result TEXT)",
    );
  }

  /** The runtime sends the frames only once these writes are durable (the output gate). */
  protected override onSubmit(id: string, submitter: WebSocket, frame: RelaySubmitFrame): void {
    const { sql } = this.ctx.storage;
    const input = JSON.stringify(frame.input);
    sql.exec("INSERT INTO jobs (id, status, input) VALUES (?, 'queued', ?)", id, input);
    sql.exec("UPDATE jobs SET status = 'processing' WHERE id = ?", id);
    super.onSubmit(id, submitter, frame);
  }

  protected override onResult(frame: RelayResultFrame): void {
    this.ctx.storage.sql.exec(
      "UPDATE jobs SET status = 'completed', result = ? WHERE id = ?",
      JSON.stringify(frame.output),
      frame.job_id,
    );
    super.onResult(frame);
  }
}
