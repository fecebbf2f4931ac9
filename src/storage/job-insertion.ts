import type { JobRow } from "./job-row.ts";
import type { SqlValue } from "./sql.ts";
import { memoized } from "./statements.ts";

/** All columns, each with its value in most new rows, if there is such a value. */
const USUAL: { [C in keyof JobRow]: JobRow[C] | undefined } = {
  ulid: undefined,
  status: "completed",
  priority: 0,
  input: undefined,
  files: "[]",
  user: undefined,
  party: undefined,
  round: 1,
  limits: undefined,
  requires: "",
  cancel_on_disconnect: 0,
  idempotency_key: undefined,
  fingerprint: undefined,
  cache_key: undefined,
  webhook: undefined,
  submitter: undefined,
  created_at: undefined,
  updated_at: undefined,
  attempts: 1,
  started_at: undefined,
  log_offset: undefined,
  history: undefined,
  queued_at: undefined,
  queue_due_at: undefined,
  available_at: 0,
  worker_id: undefined,
  worker_name: undefined,
  generation: undefined,
  dispatched_at: undefined,
  detached_at: undefined,
  away_ms: undefined,
  resumed_at: undefined,
  cancel_requested_at: undefined,
  reason: undefined,
  completed_at: undefined,
  result: undefined,
  metrics: undefined,
  cached: 0,
  outputs: undefined,
  error_code: undefined,
  progress: 100,
};
const COLUMNS = Object.keys(USUAL) as (keyof JobRow)[];

/** How a statement sets a column, as one character: not at all, as a literal, or as a bound value. */
const [ABSENT, IN_TEXT, BOUND] = ["-", "=", "?"] as const;

/**
 * The statement that inserts a row, and the values to bind. Usual values are literals in the statement,
 * because the runtime takes longer to bind a value than to store it.
 */
export function insertionOf(row: Partial<JobRow>): { statement: string; bound: SqlValue[] } {
  const bound: SqlValue[] = [];
  let shape = "";
  for (const name of COLUMNS) {
    const value = row[name] ?? null;
    if (value === null) shape += ABSENT;
    else if (value === USUAL[name]) shape += IN_TEXT;
    else {
      shape += BOUND;
      bound.push(value);
    }
  }
  return { statement: insertion(shape), bound };
}

/** The statement for a shape: one character for each column, as above. */
const insertion = memoized((shape) => {
  const columns = COLUMNS.filter((_, index) => shape[index] !== ABSENT);
  const letters = shape.replaceAll(ABSENT, "");
  const values = columns.map((name, index) => (letters[index] === BOUND ? "?" : literal(name)));
  return `INSERT INTO jobs (${columns}) VALUES (${values})`;
});

function literal(column: keyof JobRow): string {
  const value = USUAL[column];
  return typeof value === "string" ? `'${value}'` : String(value);
}
