/** The steps of a regular expression, as they are followed one after the other. */
export type Step =
  | { op: "character"; test: Test }
  | { op: "edge"; edge: Edge }
  /** Goes on at both. */
  | { op: "split"; to: [number, number] }
  | { op: "jump"; to: number }
  | { op: "match" };

export type Test = (character: string) => boolean;
export type Edge = "start" | "end" | "word" | "inside";

/** Why an expression is refused: continues its name. */
export class PatternError extends Error {}

/** Most steps of one expression: `{1,500}` makes five hundred. */
const MOST_STEPS = 2_000;

/** A part of an expression and how many steps it makes: they are counted before they are made. */
export interface Sized {
  steps: number;
  addTo: (steps: Step[]) => void;
}

function sized(steps: number, addTo: Sized["addTo"]): Sized {
  if (steps > MOST_STEPS) {
    throw new PatternError(`has more than ${MOST_STEPS} steps: repeat less, such as {1,100}`);
  }
  return { steps, addTo };
}

export function character(test: Test): Sized {
  return sized(1, (steps) => steps.push({ op: "character", test }));
}

export function edgeAt(edge: Edge): Sized {
  return sized(1, (steps) => steps.push({ op: "edge", edge }));
}

export function sequence(parts: readonly Sized[]): Sized {
  const count = parts.reduce((sum, { steps }) => sum + steps, 0);
  return sized(count, (steps) => {
    for (const part of parts) part.addTo(steps);
  });
}

export function either(left: Sized, right: Sized): Sized {
  return sized(left.steps + right.steps + 2, (steps) => {
    steps.push({ op: "split", to: [steps.length + 1, steps.length + left.steps + 2] });
    left.addTo(steps);
    steps.push({ op: "jump", to: steps.length + right.steps + 1 });
    right.addTo(steps);
  });
}

/** @param most `null`: any number of times */
export function repeated(part: Sized, least: number, most: number | null): Sized {
  if (part.steps === 0) return part;
  // Before a list of so many is made.
  sized(least * part.steps, part.addTo);
  const more = most === null ? loop(part) : upTo(part, most - least);
  return sequence([...Array.from({ length: least }, () => part), more]);
}

function loop(part: Sized): Sized {
  return sized(part.steps + 2, (steps) => {
    const start = steps.length;
    steps.push({ op: "split", to: [start + 1, start + part.steps + 2] });
    part.addTo(steps);
    steps.push({ op: "jump", to: start });
  });
}

/** None to `count` of them: each may be the last. */
function upTo(part: Sized, count: number): Sized {
  const each = part.steps + 1;
  return sized(each * count, (steps) => {
    const end = steps.length + each * count;
    for (let made = 0; made < count; made += 1) {
      steps.push({ op: "split", to: [steps.length + 1, end] });
      part.addTo(steps);
    }
  });
}
