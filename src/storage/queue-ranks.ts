import type { Line } from "../queue/rounds.ts";
import type { Sql } from "./sql.ts";

/** A part of a line: `count` jobs that wait, none of them before `first`. */
interface Stretch {
  /** As `keyOf` writes it. */
  first: string;
  count: number;
  /** The keys of the jobs in order, for the last stretch only: most places are requested for new jobs. */
  keys: string[] | null;
}

interface Stretches {
  /** In order; the first has "" as its `first`, so that it begins before any job. */
  all: Stretch[];
  /** The key of the last job that ever joined. */
  last: string;
}

/** The part of a job that decides its place in its line. */
export type Ranked = { round: number; ulid: string };

/** How many jobs a full stretch has. */
const STRETCH = 512;
/** Empty lines are remembered, because most fill again soon; if there are more than this, they are forgotten. */
const MAX_EMPTY = 100;
/** Jobs that join in the middle may make a stretch longer than this, and then it is split. */
const LONGEST = 2 * STRETCH;

/**
 * Computes how many jobs wait before another without counting the rows of a long queue (decision 0015). Each
 * line is split into stretches of about 512 jobs; for each stretch the memory has where it begins and the count,
 * for the last also the jobs. A job's rank is the sum of the counts before its stretch, plus its place in
 * the stretch. A line is read from the rows when it is first needed, and updated from then on.
 */
export class QueueRanks {
  private readonly sql: Sql;
  private readonly lines = new Map<string, Stretches>();

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Notes that a job joined a line. */
  add(line: Line, job: Ranked): void {
    const known = this.lines.get(nameOf(line));
    if (!known) return;
    const key = keyOf(job);
    const stretch = known.all[indexIn(known.all, key)];
    const isLast = key > known.last;
    if (isLast) known.last = key;
    if (!stretch) return;
    if (isLast && stretch.count >= STRETCH) {
      stretch.keys = null;
      known.all.push({ first: key, count: 1, keys: [key] });
      return;
    }
    stretch.count += 1;
    stretch.keys?.splice(placeIn(stretch.keys, key), 0, key);
  }

  /** Notes that a job left a line. */
  remove(line: Line, job: Ranked): void {
    const known = this.lines.get(nameOf(line));
    if (!known) return;
    const key = keyOf(job);
    const at = indexIn(known.all, key);
    const stretch = known.all[at];
    if (!stretch) return;
    stretch.count -= 1;
    stretch.keys?.splice(placeIn(stretch.keys, key), 1);
    if (stretch.count > 0) return;
    if (known.all.length === 1) {
      if (this.lines.size > MAX_EMPTY) this.lines.delete(nameOf(line));
      return;
    }
    known.all.splice(at, 1);
    if (at === 0 && known.all[0]) known.all[0].first = "";
  }

  /** How many jobs of the line come before a job. All calls of `add` and `remove` must be stored by then. */
  countBefore(line: Line, job: Ranked): number {
    const known = this.lines.get(nameOf(line)) ?? this.read(line);
    const key = keyOf(job);
    if ((known.all[indexIn(known.all, key)]?.count ?? 0) > LONGEST) {
      this.split(line, known, indexIn(known.all, key));
    }
    return this.rank(line, known, key);
  }

  /** How many jobs of the line are of this round or earlier ones; right only about what is stored. */
  countThrough(line: Line, round: number): number {
    const known = this.lines.get(nameOf(line));
    // If the line was not read yet, the rows that count are fewer than the line.
    const key = keyOf({ round, ulid: AFTER_ALL });
    return known ? this.rank(line, known, key) : this.count(line, "", key);
  }

  private rank(line: Line, { all }: Stretches, key: string): number {
    const at = indexIn(all, key);
    const { first, keys } = all[at] ?? EMPTY_STRETCH;
    let before = keys ? placeIn(keys, key) : this.count(line, first, key);
    for (const earlier of all.slice(0, at)) before += earlier.count;
    return before;
  }

  private count({ requires, priority }: Line, from: string, to: string): number {
    const [row] = this.sql.all<{ count: number }>(
      `SELECT COUNT(*) AS count FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND priority = ?
       AND (round, ulid) >= (?, ?) AND (round, ulid) < (?, ?)`,
      requires,
      priority,
      ...placeOf(from),
      ...placeOf(to),
    );
    return row?.count ?? 0;
  }

  private read(line: Line): Stretches {
    const all: Stretch[] = [{ ...EMPTY_STRETCH }];
    const read = { all, last: this.split(line, { all, last: "" }, 0) };
    this.lines.set(nameOf(line), read);
    return read;
  }

  /** Splits a stretch, as its rows are, into full ones. Returns the key of its last job. */
  private split(line: Line, { all }: Stretches, at: number): string {
    const { first, keys } = all[at] ?? EMPTY_STRETCH;
    const rows = this.rowsOf(line, first, all[at + 1]?.first ?? AFTER_ALL);
    const parts = rows
      .filter(({ place }) => (place - 1) % STRETCH === 0)
      .map((row): Stretch => {
        const count = Math.min(STRETCH, row.length - row.place + 1);
        // The first one begins where it did, as a job that is put back may be before all that wait.
        return { first: row.place === 1 ? first : keyOf(row), count, keys: null };
      });
    if (parts.length === 0) parts.push({ first, count: 0, keys });
    all.splice(at, 1, ...parts);
    const last = all.at(-1);
    if (last) last.keys ??= this.keysFrom(line, last.first);
    const end = rows.at(-1);
    return end ? keyOf(end) : "";
  }

  /** The first job of each part of `STRETCH` jobs, and the last job. */
  private rowsOf({ requires, priority }: Line, from: string, to: string) {
    return this.sql.all<Ranked & { place: number; length: number }>(
      `SELECT round, ulid, place, length FROM (
         SELECT round, ulid, ROW_NUMBER() OVER (ORDER BY round, ulid) AS place,
           COUNT(*) OVER () AS length
         FROM jobs INDEXED BY jobs_queue
         WHERE status = 'queued' AND requires = ? AND priority = ?
         AND (round, ulid) >= (?, ?) AND (round, ulid) < (?, ?)
       ) WHERE (place - 1) % ? = 0 OR place = length ORDER BY place`,
      requires,
      priority,
      ...placeOf(from),
      ...placeOf(to),
      STRETCH,
    );
  }

  private keysFrom({ requires, priority }: Line, first: string): string[] {
    const rows = this.sql.all<Ranked>(
      `SELECT round, ulid FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND priority = ? AND (round, ulid) >= (?, ?)
       ORDER BY round, ulid`,
      requires,
      priority,
      ...placeOf(first),
    );
    return rows.map(keyOf);
  }
}

const EMPTY_STRETCH: Stretch = { first: "", count: 0, keys: null };
/** After every key: no ULID has this letter. */
const AFTER_ALL = "~";

/** More digits than any round has. */
const ROUND_DIGITS = 12;

/** A text that sorts as the jobs of a line do: by round, then by age. */
function keyOf({ round, ulid }: Ranked): string {
  return `${String(round).padStart(ROUND_DIGITS, "0")}${ulid}`;
}

/** The round and the ULID in a key, as they are bound to a statement. */
function placeOf(key: string): [round: number, ulid: string] {
  if (key === AFTER_ALL) return [Number.MAX_SAFE_INTEGER, ""];
  return [Number(key.slice(0, ROUND_DIGITS)), key.slice(ROUND_DIGITS)];
}

function nameOf({ requires, priority }: Line): string {
  return `${priority} ${requires}`;
}

/** The index of the stretch to which a job belongs: the last one that begins at or before it. */
function indexIn(stretches: readonly Stretch[], key: string): number {
  return lowest(stretches.length, (at) => (stretches[at]?.first ?? "") > key) - 1;
}

/** The index of `key` in the sorted list, or the index at which it would be inserted. */
function placeIn(keys: readonly string[], key: string): number {
  return lowest(keys.length, (at) => (keys[at] ?? "") >= key);
}

/** The first index for which `holds` is true, found by bisection: it must be true for all later ones; or `length`. */
function lowest(length: number, holds: (at: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
