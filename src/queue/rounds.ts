/** The jobs of one class and priority (decision 0015). */
export interface Line {
  /** The class, as `classOf` writes it. */
  requires: string;
  priority: number;
}

/** What decides when a job gets its turn. */
export interface Place extends Line {
  /** Whose job it is: users take turns (decision 0049). `null`: the operator's and backends', together. */
  party: string | null;
  round: number;
}

/** How many jobs there are, and their highest round. */
export interface Recovered {
  count: number;
  /** The lowest round of those that were never dispatched; of all if there are none. */
  first: number;
  last: number;
}

interface LineState {
  waiting: number;
  running: number;
  /** The round that newcomers get: at least that of every job of the line that was dispatched. */
  turn: number;
  /** How many jobs of the line were dispatched since `turn` has changed. */
  sinceTurn: number;
}

/** A party's jobs of one priority. */
interface PartyState {
  waiting: number;
  running: number;
  /** The highest round that any of them has. */
  last: number;
}

/** The jobs of one priority. Kept when it is empty: there are few priorities, and most fill again at once. */
interface Level {
  lines: Map<string, LineState>;
  parties: Map<string | null, PartyState>;
  /** How many of the parties have waiting jobs. */
  waitingParties: number;
}

/**
 * Gives each new job its round, so that those who share a queue take turns (decision 0049): the jobs of a priority are
 * dispatched round by round, and within a round by age. A job comes into the round that is being dispatched, or into
 * the one after its party's last job. Example: A has submitted jobs of rounds 1 to 1,000, and that of round 7 has just
 * been dispatched. B's first job gets round 7 and so is next, B's second job round 8. If B's first job had got round 1,
 * a party that comes again and again would be ahead of A each time.
 *
 * Kept in memory: a few numbers for each party that has jobs. They are counted from the rows after a restart.
 */
export class Rounds {
  private readonly levels = new Map<number, Level>();

  /** The round of a new job; call `count` for the job before the next call. */
  next(line: Line, party: string | null): number {
    const level = this.levels.get(line.priority);
    const last = level?.parties.get(party)?.last ?? 0;
    return Math.max(this.turnOf(level, line), last + 1);
  }

  /** The round of a new job of somebody who has none in this space. Changes nothing. */
  ofNewcomer(line: Line): number {
    const level = this.levels.get(line.priority);
    const state = level?.lines.get(line.requires);
    return state && level && isOver(state, level) ? state.turn + 1 : turnIn(level, line);
  }

  /** Counts `waiting` and `running` more jobs at this place, or fewer if they are negative. */
  count(place: Place, waiting: number, running: number): void {
    const { priority, requires, party, round } = place;
    const level = this.levels.get(priority) ?? this.makeLevel(priority);
    const line = level.lines.get(requires) ?? makeLine(level, place);
    line.waiting += waiting;
    line.running += running;
    if (running > 0) onDispatched(line, round);
    if (line.waiting + line.running === 0) level.lines.delete(requires);
    level.waitingParties += countParty(level.parties, party, round, waiting, running);
  }

  /**
   * Counts the waiting jobs of a party in a line, after a restart. Running jobs are counted before that if it is their
   * first attempt, because their round is the one that is being dispatched, and after it otherwise: a job that is
   * tried again keeps its round, however old it is.
   */
  recover(place: Omit<Place, "round">, { count, first, last }: Recovered): void {
    const { priority, requires, party } = place;
    const level = this.levels.get(priority) ?? this.makeLevel(priority);
    const line = level.lines.get(requires) ?? newLine(first);
    level.lines.set(requires, line);
    // The round of a running job was dispatched; otherwise the first one that waits is the next.
    if (line.running === 0) line.turn = Math.min(line.turn, first);
    line.waiting += count;
    level.waitingParties += countParty(level.parties, party, last, count, 0);
  }

  waitingOf(party: string | null): number {
    let sum = 0;
    for (const { parties } of this.levels.values()) sum += parties.get(party)?.waiting ?? 0;
    return sum;
  }

  runningOf(party: string | null): number {
    let sum = 0;
    for (const { parties } of this.levels.values()) sum += parties.get(party)?.running ?? 0;
    return sum;
  }

  /**
   * How many jobs of some parties wait that are before a new job of priority 0 and this round. It may be a few more: a
   * party has at most one job in a round, but not one in every round.
   */
  waitingUpTo(round: number, isMeant: (party: string | null) => boolean): number {
    let count = 0;
    for (const [priority, { parties }] of this.levels) {
      if (priority < 0) continue;
      for (const [party, { waiting, last }] of parties) {
        if (waiting === 0 || !isMeant(party)) continue;
        const later = priority > 0 ? 0 : Math.max(0, last - round);
        count += Math.max(0, waiting - later);
      }
    }
    return count;
  }

  private turnOf(level: Level | undefined, line: Line): number {
    const state = level?.lines.get(line.requires);
    // Without this, newcomers who come one after the other would all be ahead of those who wait for their second turn.
    if (state && level && isOver(state, level)) {
      state.turn += 1;
      state.sinceTurn = 0;
    }
    return turnIn(level, line);
  }

  private makeLevel(priority: number): Level {
    const made = { lines: new Map(), parties: new Map(), waitingParties: 0 };
    this.levels.set(priority, made);
    return made;
  }
}

/** Whether everybody who waits could have had a turn in this round. */
function isOver({ sinceTurn }: LineState, { waitingParties }: Level): boolean {
  return sinceTurn > waitingParties;
}

/** A line that was empty goes on where the line is that is furthest behind, so that its jobs are not behind all of it. */
function turnIn(level: Level | undefined, { requires }: Line): number {
  if (level === undefined) return 1;
  const turn = level.lines.get(requires)?.turn;
  if (turn !== undefined) return turn;
  const turns = [...level.lines.values()].map((line) => line.turn);
  return turns.length === 0 ? 1 : Math.min(...turns);
}

function makeLine(level: Level, { requires, priority, round }: Place): LineState {
  // The first job of a line has its round already, which may be higher because its party has jobs in other lines.
  const turn = level.lines.size === 0 ? round : turnIn(level, { requires, priority });
  const made = newLine(Math.min(round, turn));
  level.lines.set(requires, made);
  return made;
}

function newLine(turn: number): LineState {
  return { waiting: 0, running: 0, turn, sinceTurn: 0 };
}

function onDispatched(line: LineState, round: number): void {
  if (round > line.turn) {
    line.turn = round;
    line.sinceTurn = 0;
  }
  line.sinceTurn += 1;
}

/** Returns by how much the number of parties with waiting jobs has changed. */
function countParty(
  parties: Map<string | null, PartyState>,
  party: string | null,
  round: number,
  waiting: number,
  running: number,
): number {
  let state = parties.get(party);
  if (state === undefined) {
    state = { waiting: 0, running: 0, last: 0 };
    parties.set(party, state);
  }
  const waitedBefore = state.waiting > 0;
  state.waiting += waiting;
  state.running += running;
  state.last = Math.max(state.last, round);
  if (state.waiting + state.running === 0) parties.delete(party);
  return Number(state.waiting > 0) - Number(waitedBefore);
}
