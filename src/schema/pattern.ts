import { flagsOf, PatternReader } from "./pattern-reader.ts";
import type { Edge, Sized, Step } from "./pattern-steps.ts";

/**
 * Regular expressions in time that grows with the text alone. The engine's own may take hours for a short text:
 * `^(a+)+$` against thirty times `a` and a `b` tries each way to part the text. A worker chooses the expression and a
 * stranger the text, so all ways are followed at once (Thompson's construction): each character is looked at once for
 * each step of the expression. What can't be followed so, such as `\1`, is refused.
 */

export class Pattern {
  private readonly steps: Step[] = [];
  private readonly ahead: readonly Lookahead[];
  /** Where the steps are noted while a text is looked at. */
  private readonly threads: readonly [Threads, Threads];

  /** @throws {PatternError} if it is no expression, or one that is not checked */
  constructor(source: string) {
    const { part, ahead } = readPattern(source);
    this.ahead = ahead.map(({ source, isNegative }) => ({
      pattern: new Pattern(source),
      isNegative,
    }));
    part.addTo(this.steps);
    this.steps.push({ op: "match" });
    this.threads = [new Threads(this.steps.length), new Threads(this.steps.length)];
  }

  /**
   * Whether the expression matches anywhere in the text.
   *
   * @param spend is told how many steps were looked at, and may throw
   */
  matches(text: string, spend: (steps: number) => void): boolean {
    for (const { pattern, isNegative } of this.ahead) {
      if (pattern.matches(text, spend) === isNegative) return false;
    }
    const characters = [...text];
    let [now, next] = this.threads;
    now.clear();
    next.clear();
    for (let at = 0; at <= characters.length; at += 1) {
      const place = { before: characters[at - 1], after: characters[at] };
      this.enter(now, 0, place);
      if (now.isMatched) return true;
      spend(now.size + 1);
      const { after } = place;
      if (after === undefined) return false;
      const following = { before: after, after: characters[at + 1] };
      for (let index = 0; index < now.size; index += 1) {
        const reached = now.at(index);
        const step = this.steps[reached];
        if (step?.op === "character" && step.test(after)) this.enter(next, reached + 1, following);
      }
      if (next.isMatched) return true;
      [now, next] = [next, now];
      next.clear();
    }
    return false;
  }

  /** Adds a step, and those that follow from it without a character. */
  private enter(threads: Threads, first: number, place: Place): void {
    const waiting = [first];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      const step = this.steps[at];
      if (step === undefined || !threads.add(at)) continue;
      if (step.op === "match") threads.isMatched = true;
      else if (step.op === "jump") waiting.push(step.to);
      else if (step.op === "split") waiting.push(...step.to);
      else if (step.op === "edge" && isAt(step.edge, place)) waiting.push(at + 1);
    }
  }
}

interface Place {
  before: string | undefined;
  after: string | undefined;
}

function isAt(edge: Edge, { before, after }: Place): boolean {
  if (edge === "start") return before === undefined;
  if (edge === "end") return after === undefined;
  const isBetween = isWordCharacter(before) !== isWordCharacter(after);
  return edge === "word" ? isBetween : !isBetween;
}

function isWordCharacter(character: string | undefined): boolean {
  return character !== undefined && /^\w$/.test(character);
}

/** The steps that are followed at one place of the text, each once. */
class Threads {
  size = 0;
  isMatched = false;
  private readonly list: Int32Array;
  private readonly place: Int32Array;

  constructor(steps: number) {
    this.list = new Int32Array(steps);
    this.place = new Int32Array(steps);
  }

  at(index: number): number {
    return this.list[index] ?? 0;
  }

  /** Returns `false` if it is there already. */
  add(step: number): boolean {
    const place = this.place[step] ?? 0;
    if (place < this.size && this.list[place] === step) return false;
    this.place[step] = this.size;
    this.list[this.size] = step;
    this.size += 1;
    return true;
  }

  clear(): void {
    this.size = 0;
    this.isMatched = false;
  }
}

/**
 * How many steps an expression has, without making them.
 *
 * @throws {PatternError} if it is no expression, or one that is not checked
 */
export function countSteps(source: string): number {
  const { part, ahead } = readPattern(source);
  return ahead.reduce((sum, { source }) => sum + countSteps(source), part.steps + 1);
}

function readPattern(source: string): {
  part: Sized;
  ahead: ReturnType<typeof splitLookaheads>["ahead"];
} {
  const flags = flagsOf(source);
  const { ahead, rest } = splitLookaheads(source);
  return { part: new PatternReader(rest, flags).read(), ahead };
}

/** Looks ahead from the beginning of the text. */
interface Lookahead {
  pattern: Pattern;
  isNegative: boolean;
}

/**
 * Takes groups such as `(?!.*\.\.)` from the beginning of an expression: what must, or must not, match there besides.
 * Each is an expression of its own, which takes no longer than any other. The libraries that make schemas of types write
 * email addresses so.
 */
function splitLookaheads(source: string): {
  ahead: { source: string; isNegative: boolean }[];
  rest: string;
} {
  const ahead: { source: string; isNegative: boolean }[] = [];
  const opening = /\(\?([=!])/y;
  let at = source.startsWith("^") ? 1 : source.length;
  for (opening.lastIndex = at; opening.test(source); opening.lastIndex = at) {
    const end = indexAtTop(source, at, ")");
    ahead.push({ source: `^(?:${source.slice(at + 3, end)})`, isNegative: source[at + 2] === "!" });
    at = end + 1;
  }
  const rest = source.slice(at);
  // In `^(?!a)b|c` the second way has no lookahead.
  const isTaken = ahead.length > 0 && indexAtTop(rest, 0, "|") === rest.length;
  return isTaken ? { ahead, rest: `^${rest}` } : { ahead: [], rest: source };
}

/** Where this character stands outside of all groups that begin from `start` on; the end if it does nowhere. */
function indexAtTop(source: string, start: number, wanted: ")" | "|"): number {
  let depth = 0;
  let isInClass = false;
  for (let at = start; at < source.length; at += 1) {
    const unit = source[at];
    if (unit === "\\") at += 1;
    else if (isInClass) isInClass = unit !== "]";
    else if (unit === "[") isInClass = true;
    else if (unit === "(") depth += 1;
    else if (unit === ")") depth -= 1;
    if (depth === 0 && unit === wanted && !isInClass) return at;
  }
  return source.length;
}
