import type { Json, JsonObject } from "../protocol/codec.ts";
import { CHARACTERS_A_STEP, type Check } from "./check-run.ts";
import { decimalOf, isWhole } from "./decimal.ts";
import { fieldOf, kindOf, valueKey } from "./json-kind.ts";

const NAMES: Record<string, string> = {
  string: "text",
  number: "a number",
  integer: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a JSON object",
  null: "null",
};

/** The check of `type`. */
export function typeCheck(type: Json | undefined): Check | null {
  if (type === undefined) return null;
  const types = new Set((Array.isArray(type) ? type : [type]).map(String));
  const message = describeTypes(types);
  return (value, run) => hasType(value, types) || run.fail(message);
}

/** `must be a number or null`. */
export function describeTypes(types: ReadonlySet<string>): string {
  return `must be ${[...types].map((name) => NAMES[name]).join(" or ")}`;
}

/** Whether the value is of one of these types. */
export function hasType(value: Json, types: ReadonlySet<string>): boolean {
  const kind = kindOf(value);
  if (types.has(kind)) return true;
  if (kind !== "number" || !types.has("integer")) return false;
  return Number.isSafeInteger(value) || isWhole(decimalOf(value));
}

/** Most choices and characters that a message lists. */
const LISTED = 20;
const LISTED_LENGTH = 300;

/** The check of `enum` and `const`. */
export function constantCheck(schema: JsonObject): Check | null {
  const allowed = fieldOf(schema, "enum");
  const only = fieldOf(schema, "const");
  const values = Array.isArray(allowed) ? allowed : only === undefined ? null : [only];
  if (values === null) return null;
  const check = choiceCheck(values);
  if (!Array.isArray(allowed) || only === undefined) return check;
  const both = choiceCheck([only]);
  return (value, run) => check(value, run) && both(value, run);
}

/** Whether a value is one of these. */
export function choiceCheck(values: readonly Json[]): Check {
  const texts = new Set(values.filter((value) => typeof value === "string"));
  const keys = new Set(values.map(valueKey));
  const isSimple = values.every((value) => !["array", "object"].includes(kindOf(value)));
  const shown = values.slice(0, LISTED).map((value) => JSON.stringify(value));
  const listed = shown.join(", ").slice(0, LISTED_LENGTH);
  const isWholeList = values.length <= LISTED && listed.length < LISTED_LENGTH;
  const message = `must be ${values.length > 1 ? "one of " : ""}${listed}${isWholeList ? "" : " …"}`;
  return (value, run) => {
    if (typeof value === "string") return texts.has(value) || run.fail(message);
    const kind = kindOf(value);
    const isPart = kind === "array" || kind === "object";
    if (isPart && isSimple) return run.fail(message);
    const key = valueKey(value);
    run.spend(key.length / CHARACTERS_A_STEP);
    return keys.has(key) || run.fail(message);
  };
}
