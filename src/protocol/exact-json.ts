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
 * JSON whose numbers keep every digit (decision 0031). `JSON.parse` turns `18446744073709551615` into
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
 * Like `parseExact`, for a frame or a body: only numbers inside of what users send (`input`, `output` and the
 * like, see `OF_USERS`) keep their digits. The other fields, such as `priority` or `progress`, become ordinary
 * numbers, because the edge computes with them.
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

/**
 * Whether `JSON.parse` would lose digits of a number in this text, or write it in another way. Every message
 * is searched, so this is several times faster than parsing: it jumps over strings.
 */
export function mayLoseDigits(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === QUOTE) {
      index = endOfString(text, index);
      if (index === -1) return false;
    } else if (unit === MINUS || isDigit(unit)) {
      const end = endOfNumber(text, index);
      if (isUnusual(text, index, end)) return true;
      index = end - 1;
    }
  }
  return false;
}

/**
 * Whether a text has more than `limit` lists, objects, fields, and numbers that keep their digits: what takes time
 * to read, and many times its length in memory.
 */
export function hasManyParts(text: string, limit: number): boolean {
  let parts = 0;
  for (let index = 0; index < text.length && parts <= limit; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === QUOTE) {
      index = endOfString(text, index);
      if (index === -1) return false;
    } else if (unit === MINUS || isDigit(unit)) {
      const end = endOfNumber(text, index);
      if (isUnusual(text, index, end)) parts += 1;
      index = end - 1;
    } else if (unit === BRACKET || unit === BRACE || unit === COLON) parts += 1;
  }
  return parts > limit;
}

/** Whether this stands for a number that JavaScript would write differently. */
export function isExactNumber(value: unknown): boolean {
  return isRawJson(value);
}

/** Looked up once, because every value of every frame is asked. Node.js 20 has no such numbers. */
const isRawJson: (value: unknown) => boolean = JSON.isRawJSON ?? (() => false);

/** The value as JSON text with the fields in the order of their names: two values are the same if it is equal. */
export function orderedJson(value: Json): string {
  if (typeof value !== "object" || value === null || isExactNumber(value)) {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(orderedJson).join()}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${orderedJson(value[name] ?? null)}`).join()}}`;
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

/** Character codes. */
const QUOTE = 34;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const UPPER_E = 69;
const BRACKET = 91;
const BACKSLASH = 92;
const LOWER_E = 101;
const BRACE = 123;

function isDigit(unit: number): boolean {
  return unit >= ZERO && unit <= NINE;
}

/** The index of the quote that ends the string which begins at `start`; -1 if none does. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    // A quote after an even number of backslashes is not escaped.
    if ((end - before) % 2 === 1) return end;
  }
  return -1;
}

/** The index after the digits and dots of a number; an `e` of an exponent ends it. */
function endOfNumber(text: string, start: number): number {
  let end = start + 1;
  for (
    let unit = text.charCodeAt(end);
    isDigit(unit) || unit === DOT;
    unit = text.charCodeAt(end)
  ) {
    end += 1;
  }
  return end;
}

/**
 * Whether JavaScript may write this number differently: with an exponent, with a zero at the end of its
 * fraction, negative zero, very small ones, and those with 16 characters or more.
 */
function isUnusual(text: string, start: number, end: number): boolean {
  const next = text.charCodeAt(end);
  if (next === LOWER_E || next === UPPER_E || end - start >= 16) return true;
  if (text.charCodeAt(end - 1) !== ZERO) {
    return end - start > 8 && text.startsWith("0.000000", start + Number(text[start] === "-"));
  }
  const number = text.slice(start, end);
  return number === "-0" || number.includes(".");
}

function keepDigits(_name: string, value: Json, { source }: NumberContext): Json {
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  return JSON.rawJSON(source) as unknown as Json;
}

function roundOutside(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (isExactNumber(value)) return rounded(value);
  if (Array.isArray(value)) return value.map(roundOutside);
  return mapFields(value, (name, field) => {
    if (OF_USERS.has(name)) return field;
    // A filter's fields have the names that users chose, but the edge compares their values.
    return name === "filter" ? rounded(field) : roundOutside(field);
  });
}

/** `Object.fromEntries` sets a field with any name, `__proto__` among them. */
function mapFields(object: JsonObject, map: (name: string, field: Json) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, field]) => [name, map(name, field)]),
  );
}
