import type { Json, JsonObject } from "./codec.ts";

/** In ES2026, and in the engines of the edge and of current browsers; Node.js has it from version 22 on. */
declare global {
  interface JSON {
    rawJSON(text: string): object;
    isRawJSON(value: unknown): boolean;
    parse(text: string, reviver: (name: string, value: Json, context: NumberContext) => Json): Json;
  }
}

interface NumberContext {
  /** The number as it stands in the text. */
  source?: string;
}

/**
 * JSON whose numbers keep every digit. `JSON.parse` turns `18446744073709551615` into
 * `18446744073709552000`, `1e400` into Infinity, which `JSON.stringify` writes as `null`, and `1.0`, which
 * is a float in Python, into the integer `1`. What users send (inputs, outputs, results, metrics, the data
 * of events) is theirs: the edge must pass it on as it came.
 *
 * A number that JavaScript would write differently becomes the object of `JSON.rawJSON`, which
 * `JSON.stringify` writes as it was sent. All others stay numbers.
 */
export function parseExact(text: string): Json {
  return mayLoseDigits(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
}

/**
 * Like `parseExact`, for a frame or a body: only what belongs to users keeps its digits. The other fields,
 * such as `priority` or `progress`, become numbers, because the edge reads them.
 */
export function parseMessage(text: string): Json {
  if (!mayLoseDigits(text)) return JSON.parse(text);
  return roundOutside(JSON.parse(text, keepDigits));
}

/** The value with plain numbers, as `JSON.parse` returns it. */
export function rounded(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (isExactNumber(value)) return Number(JSON.stringify(value));
  if (Array.isArray(value)) return value.map(rounded);
  return mapFields(value, (_name, field) => rounded(field));
}

/** Whether `JSON.parse` may lose digits of a number in this text; it may also say so of a text where it loses none. */
export function mayLoseDigits(text: string): boolean {
  return MAY_CHANGE.test(text);
}

/** Whether this stands for a number that JavaScript would write differently. */
export function isExactNumber(value: unknown): boolean {
  return "isRawJSON" in JSON && JSON.isRawJSON(value);
}

/** The fields whose content belongs to users, in frames, bodies and reports, and what is returned to them. */
const OF_USERS: ReadonlySet<string> = new Set([
  "ref",
  "input",
  "output",
  "delta",
  "result",
  "metrics",
  "data",
]);

/**
 * Finds numbers that may be written differently: with an exponent, with a zero at the end of their
 * fraction, negative zero, very small ones, and those with 16 characters or more. It may also find a text
 * that looks like one, which costs time and changes nothing. Without it every message would be parsed the
 * slow way.
 */
const MAY_CHANGE =
  /(?:^|[\s:,[])-?(?:[\d.]+[eE][-+]?\d+|\d+\.\d*0|0\.0{6}\d*|[\d.]{16,}|(?<=-)0)\s*(?:[\s,\]}]|$)/;

function keepDigits(_name: string, value: Json, { source }: NumberContext): Json {
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  return JSON.rawJSON(source) as unknown as Json;
}

function roundOutside(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (isExactNumber(value)) return rounded(value);
  if (Array.isArray(value)) return value.map(roundOutside);
  return mapFields(value, (name, field) => (OF_USERS.has(name) ? field : roundOutside(field)));
}

/** `Object.fromEntries` sets a field with any name, `__proto__` among them. */
function mapFields(object: JsonObject, map: (name: string, field: Json) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, field]) => [name, map(name, field)]),
  );
}
