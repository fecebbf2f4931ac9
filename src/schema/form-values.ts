import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import { fieldsOf, unwrap } from "./fields.ts";
import { FORMATS } from "./formats.ts";
import { fieldOf, isObject, kindOf } from "./json-kind.ts";

/**
 * The input with the values that the texts of a form stand for: a form has only texts. What stands for no value of the
 * field's type stays a text, which the schema then refuses.
 *
 * @param texts the names of the fields that came as texts; a field that stands several times has a list of texts
 */
export function typedInput(
  input: JsonObject,
  texts: readonly string[],
  root: JsonObject,
): JsonObject {
  const typed = new Map(Object.entries(input));
  for (const { name, schema, isNullable } of fieldsOf(root, root)) {
    const given = typed.get(name);
    if (given === undefined || !texts.includes(name)) continue;
    const isNull = isNullable && given === "null" && !kindsOf(schema).has("string");
    const value = isNull ? null : typedValue(given, schema, root);
    if (value === undefined) typed.delete(name);
    else typed.set(name, value);
  }
  // Setting the fields one by one would lose one that is named `__proto__`.
  return Object.fromEntries(typed);
}

/** `undefined`: a field that was left empty. */
function typedValue(given: Json, schema: JsonObject, root: JsonObject): Json | undefined {
  if (Array.isArray(given)) {
    return kindsOf(schema).has("array") ? typedList(given, schema, root) : given;
  }
  if (typeof given !== "string") return given;
  return typedText(given, schema, root);
}

function typedText(text: string, schema: JsonObject, root: JsonObject): Json | undefined {
  const constant = constantFor(text, schema);
  if (constant !== undefined) return constant;
  const kinds = kindsOf(schema);
  if (text.trim() === "" && isLeftEmpty(text, schema, kinds)) return undefined;
  if (kinds.has("string")) return text;
  const value = standsFor(text.trim(), kinds);
  if (value !== undefined) return value;
  return kinds.has("array") ? typedList([text], schema, root) : text;
}

/** The one of a list of choices that a text stands for. */
function constantFor(text: string, { enum: choices, oneOf, anyOf }: JsonObject): Json | undefined {
  const ways = [oneOf, anyOf].find(Array.isArray) ?? [];
  const constants = Array.isArray(choices)
    ? choices
    : ways.flatMap((way) => (isObject(way) ? (fieldOf(way, "const") ?? []) : []));
  if (constants.includes(text)) return text;
  return constants.find((constant) => JSON.stringify(constant) === text.trim());
}

function typedList(texts: readonly Json[], schema: JsonObject, root: JsonObject): Json {
  const items = unwrap(fieldOf(schema, "items") ?? {}, root).schema;
  return texts.flatMap((text) => {
    const value = typedValue(text, items, root);
    return value === undefined ? [] : [value];
  });
}

/** Browsers send the fields that nobody filled in, too. Only a text may be empty. */
function isLeftEmpty(text: string, schema: JsonObject, kinds: ReadonlySet<string>): boolean {
  if (!kinds.has("string")) return kinds.size > 0;
  const isPlain = !FORMATS.has(String(schema.format)) && schema.oneOf === undefined;
  return text === "" && !(isPlain && schema.enum === undefined);
}

/** The types that a value may have; none if the schema doesn't say. */
function kindsOf(schema: JsonObject): ReadonlySet<string> {
  const { type, enum: choices, const: only, oneOf, anyOf } = schema;
  if (type !== undefined) return new Set((Array.isArray(type) ? type : [type]).map(String));
  if (Array.isArray(choices)) return new Set(choices.map(kindOf));
  if (only !== undefined) return new Set([kindOf(only)]);
  const ways = [oneOf, anyOf].find(Array.isArray) ?? [];
  return new Set(ways.flatMap((way) => (isObject(way) ? [...kindsOf(way)] : [])));
}

/** The value that a text stands for in one of these types; `undefined`: none. */
function standsFor(text: string, kinds: ReadonlySet<string>): Json | undefined {
  if (kinds.has("number") || kinds.has("integer")) {
    const number = numberOf(text);
    if (number !== null) return number;
  }
  if (kinds.has("boolean")) {
    const flag = FLAGS.get(text.toLowerCase());
    if (flag !== undefined) return flag;
  }
  const parsed = /^[[{]/.test(text) ? parseJson(text, DEPTH, parseExact) : null;
  return parsed?.ok && kinds.has(kindOf(parsed.value)) ? parsed.value : undefined;
}

/** The value of a field lies a level below the input. */
const DEPTH = LIMITS.inputDepth - 1;

/** `on` is what browsers send for a box that is ticked. */
const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["on", true],
  ["1", true],
  ["false", false],
  ["off", false],
  ["0", false],
]);

const DECIMAL = /^([-+]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(e[-+]?\d+)?$/i;

/** The number that somebody typed, with every digit: also `+5`, `.5` and `007`, which JSON lacks. `null`: it is none. */
export function numberOf(text: string): Json | null {
  const match = DECIMAL.exec(text);
  if (match === null) return null;
  const [, sign, whole = "", after = "", alone = "", power = ""] = match;
  const digits = whole.replace(/^0+(?=\d)/, "") || "0";
  const fraction = after || alone;
  const number = `${sign === "-" ? "-" : ""}${digits}${fraction === "" ? "" : `.${fraction}`}${power}`;
  return parseExact(number);
}
