import type { Json } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";

/** What is wrong with a part of a submit. `path` is a JSON pointer, such as `/input/width`. */
export interface InputError {
  path: string;
  /** Continues the name of that part: `must be 64 or more`. */
  message: string;
}

/** Whether a value fits; what doesn't is noted in `run`. */
export type Check = (value: Json, run: CheckRun) => boolean;

/** How many characters of a text are read in the time of a step, about. */
export const CHARACTERS_A_STEP = 8;

/** A value would take too long to check, or lies too deep. */
export class TooMuchWork extends Error {}

/**
 * One check of a value against a schema. Schemas may try a value in many ways (`anyOf` within `anyOf`), and a worker
 * chooses the schema: so the work is counted, and ends when it is much more than the value's size explains.
 */
export class CheckRun {
  readonly errors: InputError[] = [];
  private readonly path: (string | number)[];
  private depth = 0;
  /** Above 0 while a value is only tried: what doesn't fit is no error then. */
  private trying = 0;
  private work: number;

  /** @param work how many steps the check may take */
  constructor(root: string, work: number) {
    this.path = [root];
    this.work = work;
  }

  /** Counts steps. Bound, because it is passed on. */
  readonly spend = (steps: number): void => {
    this.work -= steps;
    if (this.work < 0) throw new TooMuchWork();
  };

  enter(): void {
    this.spend(1);
    this.depth += 1;
    if (this.depth > MOST_DEPTH) throw new TooMuchWork();
  }

  leave(): void {
    this.depth -= 1;
  }

  /** Whether further errors needn't be looked for. */
  get isDone(): boolean {
    return this.trying > 0 || this.errors.length >= LIMITS.inputErrors;
  }

  /** Notes an error of the value that is being looked at; returns `false`. */
  fail(message: string): false {
    if (!this.isDone) this.errors.push({ path: pointerOf(this.path), message });
    return false;
  }

  /** Looks at a part of the value. */
  within(name: string | number, part: Json, check: Check): boolean {
    this.path.push(name);
    const fits = check(part, this);
    this.path.pop();
    return fits;
  }

  /** Whether a value would fit. */
  tries(value: Json, check: Check): boolean {
    this.trying += 1;
    const fits = check(value, this);
    this.trying -= 1;
    return fits;
  }
}

/** The check of a part that is known to be of one type. */
export type PartCheck<T> = (value: T, run: CheckRun) => boolean;

export function fitsAll<T>(checks: readonly PartCheck<T>[], value: T, run: CheckRun): boolean {
  let fits = true;
  for (const check of checks) {
    if (check(value, run)) continue;
    fits = false;
    if (run.isDone) break;
  }
  return fits;
}

/** A value has 64 levels at most, and few schemas lie on each other. Deeper calls could overflow the stack. */
const MOST_DEPTH = 1_000;

/** How much of a name is repeated, characters: a stranger may have chosen it. */
const NAME_LENGTH = 200;

function pointerOf(path: readonly (string | number)[]): string {
  const names = path.map((name) => String(name).slice(0, NAME_LENGTH).toWellFormed());
  return names.map((name) => `/${escapeName(name)}`).join("");
}

/** A name as it stands in a JSON pointer. */
export function escapeName(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
