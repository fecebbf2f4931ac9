import type { Sql } from "./sql.ts";

/** Jobs that wait in one stretch of a line, from `first` on. */
interface Stretch {
  first: string;
  count: number;
  /** The jobs themselves, in order: of the newest stretch, where most are asked about. */
  ulids: string[] | null;
}

interface Stretches {
  /** In order; the first begins before any job there can be. */
  all: Stretch[];
  newest: string;
}

/** Jobs a stretch has when it is full. */
const STRETCH = 512;

/**
 * How many jobs wait before another, without counting a long queue: each line (one class and priority)
 * is kept as stretches of a few hundred jobs, of which only the boundaries and counts are in memory, and
 * of the newest the jobs.
 * Lines are read from the rows when first asked about, and kept up to date from then on.
 */
export class QueueRanks {
  private readonly sql: Sql;
  private readonly lines = new Map<string, Stretches>();

  constructor(sql: Sql) {
    this.sql = sql;
  }

  joined(line: Line, ulid: string): void {
    const known = this.lines.get(keyOf(line));
    if (!known) return;
    const stretch = known.all[indexIn(known.all, ulid)];
    const isNewest = ulid > known.newest;
    if (isNewest) known.newest = ulid;
    if (!stretch) return;
    if (isNewest && stretch.count >= STRETCH) {
      stretch.ulids = null;
      known.all.push({ first: ulid, count: 1, ulids: [ulid] });
      return;
    }
    stretch.count += 1;
    stretch.ulids?.splice(placeIn(stretch.ulids, ulid), 0, ulid);
  }

  left(line: Line, ulid: string): void {
    const known = this.lines.get(keyOf(line));
    if (!known) return;
    const at = indexIn(known.all, ulid);
    const stretch = known.all[at];
    if (!stretch) return;
    stretch.count -= 1;
    stretch.ulids?.splice(placeIn(stretch.ulids, ulid), 1);
    if (stretch.count > 0 || known.all.length === 1) return;
    known.all.splice(at, 1);
    if (at === 0 && known.all[0]) known.all[0].first = "";
  }

  /** Jobs of the line that are older than `ulid`; what was `joined` and `left` must be stored. */
  before(line: Line, ulid: string): number {
    const { all } = this.lines.get(keyOf(line)) ?? this.read(line);
    const at = indexIn(all, ulid);
    const { first, ulids } = all[at] ?? EMPTY_STRETCH;
    let before = ulids ? placeIn(ulids, ulid) : this.count(line, first, ulid);
    for (const earlier of all.slice(0, at)) before += earlier.count;
    return before;
  }

  private count({ requires, priority }: Line, from: string, to: string): number {
    const [row] = this.sql.all<{ count: number }>(
      `SELECT COUNT(*) AS count FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND priority = ? AND ulid >= ? AND ulid < ?`,
      requires,
      priority,
      from,
      to,
    );
    return row?.count ?? 0;
  }

  private read(line: Line): Stretches {
    const rows = this.sql.all<{ ulid: string; place: number; length: number }>(
      `SELECT ulid, place, length FROM (
         SELECT ulid, ROW_NUMBER() OVER (ORDER BY ulid) AS place, COUNT(*) OVER () AS length
         FROM jobs INDEXED BY jobs_queue
         WHERE status = 'queued' AND requires = ? AND priority = ?
       ) WHERE (place - 1) % ? = 0 OR place = length ORDER BY place`,
      line.requires,
      line.priority,
      STRETCH,
    );
    const all: Stretch[] = [{ ...EMPTY_STRETCH }];
    for (const { ulid, place, length } of rows) {
      if ((place - 1) % STRETCH !== 0) continue;
      const count = Math.min(STRETCH, length - place + 1);
      // What is put back may be older than any that waits.
      if (place === 1) all[0] = { ...EMPTY_STRETCH, count };
      else all.push({ first: ulid, count, ulids: null });
    }
    const newest = all.at(-1);
    if (newest) newest.ulids = this.ulidsFrom(line, newest.first);
    const read = { all, newest: rows.at(-1)?.ulid ?? "" };
    this.lines.set(keyOf(line), read);
    return read;
  }

  private ulidsFrom({ requires, priority }: Line, first: string): string[] {
    const rows = this.sql.all<{ ulid: string }>(
      `SELECT ulid FROM jobs INDEXED BY jobs_queue
       WHERE status = 'queued' AND requires = ? AND priority = ? AND ulid >= ? ORDER BY ulid`,
      requires,
      priority,
      first,
    );
    return rows.map(({ ulid }) => ulid);
  }
}

/** Jobs of one priority that ask for the same, oldest first. */
export interface Line {
  requires: string;
  priority: number;
}

const EMPTY_STRETCH: Stretch = { first: "", count: 0, ulids: null };

function keyOf({ requires, priority }: Line): string {
  return `${priority} ${requires}`;
}

/** The last stretch that begins at or before `ulid`; the first begins before all. */
function indexIn(stretches: readonly Stretch[], ulid: string): number {
  return lowest(stretches.length, (at) => (stretches[at]?.first ?? "") > ulid) - 1;
}

/** Where `ulid` is in the list, or would be. */
function placeIn(ulids: readonly string[], ulid: string): number {
  return lowest(ulids.length, (at) => (ulids[at] ?? "") >= ulid);
}

/** The first index at which what holds for all after it does; `length` where it holds for none. */
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
