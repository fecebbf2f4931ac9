import type { JsonObject } from "../protocol/codec.ts";
import { CHARACTERS_A_STEP, type Check } from "./check-run.ts";
import { FORMATS } from "./formats.ts";
import { fieldOf } from "./json-kind.ts";
import { Pattern } from "./pattern.ts";

/** The check of the keywords about texts; `null` if there are none. */
export function checkText(schema: JsonObject): Check | null {
  const least = numberIn(schema, "minLength");
  const most = numberIn(schema, "maxLength");
  const source = fieldOf(schema, "pattern");
  const format = FORMATS.get(String(fieldOf(schema, "format")));
  if (least === null && most === null && source === undefined && format === undefined) return null;
  const pattern = typeof source === "string" ? new Pattern(source) : null;
  return (value, run) => {
    if (typeof value !== "string") return true;
    run.spend(value.length / CHARACTERS_A_STEP);
    if (most !== null && isLonger(value, most))
      return run.fail(`must have ${counted(most, "character")} at most`);
    if (least !== null && least > 0 && !isLonger(value, least - 1))
      return run.fail(
        least === 1 ? "must not be empty" : `must have ${counted(least, "character")} or more`,
      );
    if (format !== undefined && !format.fits(value)) return run.fail(format.message);
    if (pattern === null) return true;
    const spend = (steps: number) => run.spend(steps / PATTERN_STEPS);
    return (
      pattern.matches(value, spend) || run.fail(`must match ${String(source).slice(0, SHOWN)}`)
    );
  };
}

/** A step of an expression takes about this part of the time of a step of a check. */
const PATTERN_STEPS = 4;

/** How much of an expression a message shows, characters. */
const SHOWN = 200;

/** Whether a text has more characters than that: a pair of surrogates is one. */
function isLonger(text: string, limit: number): boolean {
  if (text.length <= limit) return false;
  if (text.length > 2 * limit) return true;
  let characters = 0;
  for (const _ of text) {
    characters += 1;
    if (characters > limit) return true;
  }
  return false;
}

/** The whole number that is a keyword's value; `null` if the schema lacks it. */
export function numberIn(schema: JsonObject, name: string): number | null {
  const value = fieldOf(schema, name);
  return value === undefined ? null : Number(JSON.stringify(value));
}

/** `1 entry`, `2 entries`. */
export function counted(count: number, what: string): string {
  if (count === 1) return `1 ${what}`;
  return `${count} ${what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`}`;
}
