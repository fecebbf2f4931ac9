import { RelayObject, type ResultFrame, type SubmitFrame } from "./relay-object.ts";

/** The relay, with each step written to SQLite as it happens. */
export class NaiveObject extends RelayObject {
  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, status TEXT, input TEXT, result TEXT)",
    );
  }

  /** What is sent is held back by the runtime until what was written is stored. */
  protected override onSubmit(id: string, submitter: WebSocket, frame: SubmitFrame): void {
    const { sql } = this.ctx.storage;
    const input = JSON.stringify(frame.input);
    sql.exec("INSERT INTO jobs (id, status, input) VALUES (?, 'queued', ?)", id, input);
    sql.exec("UPDATE jobs SET status = 'processing' WHERE id = ?", id);
    super.onSubmit(id, submitter, frame);
  }

  protected override onResult(frame: ResultFrame): void {
    this.ctx.storage.sql.exec(
      "UPDATE jobs SET status = 'completed', result = ? WHERE id = ?",
      JSON.stringify(frame.output),
      frame.job_id,
    );
    super.onResult(frame);
  }
}
