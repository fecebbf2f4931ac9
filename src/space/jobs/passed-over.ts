import type { Instant, Job } from "../../queue/job.ts";
import type { Line, Rounds } from "../../queue/rounds.ts";
import type { JobStore, Standing } from "../../storage/job-store.ts";
import type { Ranked } from "../../storage/queue-ranks.ts";

/** How many jobs of a party may run at once; `null`: as many as there are places for. */
export type RunBound = number | null;

export interface Search {
  count: number;
  /** Jobs whose rows are out of date. */
  changes: ReadonlyMap<string, { job: Job }>;
  /** Those of them that wait, in any of the lines. */
  fresh: readonly Job[];
  now: Instant;
  bound: number;
}

/** How far the search in a line need not look again. */
interface Searched {
  /** The rows before this place belong to parties in `parties`. */
  to: Ranked;
  /** For each party that has rows before `to`: no row of it is before this place. */
  parties: Map<string | null, Ranked>;
}

/** How many rows are read at once while they only have to be passed over. */
const PAGE = 256;

/**
 * Finds the next jobs whose parties may have more jobs run (`max_running_per_user`), without reading again and again
 * the rows that must let others pass (decision 0049). Example: A has 1,000 jobs waiting and may have one running. The
 * first search passes over A's jobs and notes where they begin; the next ones begin behind them. When A's job has
 * ended, A's next one is found from the place that was noted.
 */
export class PassedOver {
  private readonly store: JobStore;
  private readonly rounds: Rounds;
  private readonly lines = new Map<string, Searched>();

  constructor(store: JobStore, rounds: Rounds) {
    this.store = store;
    this.rounds = rounds;
  }

  /** The next stored jobs of these lines, in their order; of each party no more than it may have run. */
  next(lines: readonly Line[], search: Search): Standing[] {
    const found: Standing[] = [];
    const quota = new Quota(this.rounds, search);
    for (const line of lines) {
      const count = search.count - found.length;
      if (count > 0) found.push(...this.nextIn(line, { ...search, count }, quota));
    }
    return found;
  }

  /** Notes that a job joined a line: perhaps before the place from which the next search goes on. */
  onQueued(line: Line, job: Job): void {
    const searched = this.lines.get(nameOf(line));
    if (searched && order(job, searched.to) < 0) note(searched, job);
  }

  /** Forgets a line that has become empty. */
  forget(line: Line): void {
    this.lines.delete(nameOf(line));
  }

  private nextIn(line: Line, search: Search, quota: Quota): Standing[] {
    const known = this.lines.get(nameOf(line));
    const searched = known ?? { to: { round: 0, ulid: "" }, parties: new Map() };
    this.lines.set(nameOf(line), searched);
    const passed = this.amongPassed(line, searched, search, quota);
    const behind = this.behind(line, searched, search, quota, passed.length);
    // They have no row that could be found yet.
    for (const job of search.fresh) if (job.priority === line.priority) this.onQueued(line, job);
    return [...passed, ...behind];
  }

  /** The next jobs before `searched.to`, of parties that had to let others pass and need not any longer. */
  private amongPassed(line: Line, searched: Searched, search: Search, quota: Quota): Standing[] {
    let found: Standing[] = [];
    const parties = [...searched.parties].filter(([party]) => quota.left(party) > 0);
    for (const [party, first] of parties.sort(([, a], [, b]) => order(a, b))) {
      const last = found[search.count - 1];
      if (last && order(last, first) < 0) break;
      const rows = this.ofParty(line, searched, party, search, quota);
      found = [...found, ...rows].sort(order).slice(0, search.count);
    }
    return found;
  }

  private ofParty(
    line: Line,
    searched: Searched,
    party: string | null,
    search: Search,
    quota: Quota,
  ): Standing[] {
    const from = searched.parties.get(party) ?? searched.to;
    searched.parties.delete(party);
    const found: Standing[] = [];
    for (const row of this.rows(line, { from, to: searched.to, party }, search)) {
      note(searched, row);
      if (quota.take(row)) found.push(row);
      if (found.length >= search.count || quota.left(party) <= 0) break;
    }
    return found;
  }

  /** The next jobs from `searched.to` on, which is moved behind those that have to let others pass. */
  private behind(
    line: Line,
    searched: Searched,
    search: Search,
    quota: Quota,
    already: number,
  ): Standing[] {
    const found: Standing[] = [];
    if (already >= search.count) return found;
    for (const row of this.rows(line, { from: searched.to, to: END }, search)) {
      if (quota.take(row)) found.push(row);
      else if (found.length === 0) {
        note(searched, row);
        // Every ULID has the same length, so this is before the next one.
        searched.to = { round: row.round, ulid: `${row.ulid}0` };
      }
      if (found.length + already >= search.count) break;
    }
    return found;
  }

  /** Rows in their order, read in pages. */
  private *rows(
    line: Line,
    part: { from: Ranked; to: Ranked; party?: string | null },
    { count, changes }: Search,
  ): Generator<Standing> {
    let { from } = part;
    for (let size = count + changes.size + 1; ; size = PAGE) {
      const rows = this.store.inLine(line, { ...part, from }, size);
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < size) return;
      from = { round: last.round, ulid: `${last.ulid}0` };
    }
  }
}

/** Counts how many more jobs of each party may be taken in one search. */
class Quota {
  private readonly rounds: Rounds;
  private readonly search: Search;
  private readonly taken = new Map<string | null, number>();

  constructor(rounds: Rounds, search: Search) {
    this.rounds = rounds;
    this.search = search;
  }

  left(party: string | null): number {
    if (party === null) return Number.POSITIVE_INFINITY;
    return this.search.bound - this.rounds.runningOf(party) - (this.taken.get(party) ?? 0);
  }

  /** Whether this job may start now; if so, it is counted. */
  take({ ulid, party, availableAt }: Standing): boolean {
    if (availableAt > this.search.now || this.search.changes.has(ulid)) return false;
    if (this.left(party) <= 0) return false;
    this.taken.set(party, (this.taken.get(party) ?? 0) + 1);
    return true;
  }
}

/** After every job: no ULID has this letter. */
const END: Ranked = { round: Number.MAX_SAFE_INTEGER, ulid: "~" };

/** Notes that the party has a row at this place, which is before `searched.to`. */
function note({ parties }: Searched, { party, round, ulid }: Ranked & Pick<Job, "party">): void {
  const first = parties.get(party);
  if (first === undefined || order({ round, ulid }, first) < 0) parties.set(party, { round, ulid });
}

function order(a: Ranked, b: Ranked): number {
  return a.round - b.round || (a.ulid < b.ulid ? -1 : Number(a.ulid > b.ulid));
}

function nameOf({ requires, priority }: Line): string {
  return `${priority} ${requires}`;
}
