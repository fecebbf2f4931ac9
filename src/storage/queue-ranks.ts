import type { Sql } from "./sql.ts";

/** A part of a line: `count` jobs that wait, none of them older than `first`. */
interface Stretch {
  first: string;
  count: number;
  /** The jobs in order, for the newest stretch only: most places are requested for new jobs. */
  ulids: string[] | null;
}

interface Stretches {
  /** In order; the first has "" as its `first`, so that it begins before any job. */
  all: Stretch[];
  /** The newest job that ever joined. */
  newest: string;
}

/** How many jobs a full stretch has. */
const STRETCH = 512;

/**
 * Computes how many jobs wait before another without counting the rows of a long queue (decision 0015). Each
 * line is split into stretches of about 512 jobs; for each stretch the memory has the first ULID and the count,
 * for the newest also the jobs. A job's rank is the sum of the counts before its stretch, plus its place in
 * the stretch. A line is read from the rows when it is first needed, and updated from then on.
 */
export class QueueRanks {
  private readonly sql: Sql;
  private readonly lines = new Map<string, Stretches>();

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Notes that a job joined a line. */
  add(line: Line, ulid: string): void {
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

  /** Notes that a job left a line. */
  remove(line: Line, ulid: string): void {
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

  /** How many jobs of the line are older than `ulid`. All calls of `joined` and `left` must be stored by then. */
  countBefore(line: Line, ulid: string): number {
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
      // The first stretch keeps "" as its start, as a job that is put back may be older than all that wait.
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

/** The waiting jobs of one class and priority, oldest first. */
export interface Line {
  /** The class, as `classOf` writes it. */
  requires: string;
  priority: number;
}

const EMPTY_STRETCH: Stretch = { first: "", count: 0, ulids: null };

function keyOf({ requires, priority }: Line): string {
  return `${priority} ${requires}`;
}

/** The index of the stretch to which `ulid` belongs: the last one that begins at or before it. */
function indexIn(stretches: readonly Stretch[], ulid: string): number {
  return lowest(stretches.length, (at) => (stretches[at]?.first ?? "") > ulid) - 1;
}

/** The index of `ulid` in the sorted list, or the index at which it would be inserted. */
function placeIn(ulids: readonly string[], ulid: string): number {
  return lowest(ulids.length, (at) => (ulids[at] ?? "") >= ulid);
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
