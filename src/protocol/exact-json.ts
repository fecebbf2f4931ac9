import type { Json, JsonObject } from "./codec.ts";

/** In ES2026, and in the engines of the edge and of current browsers; Node.js has it from version 22 on. */
declare global {
  interface JSON {
    rawJSON(text: string): object;
    isRawJSON(value: unknown): boolean;
  }
}

/**
 * JSON whose numbers keep every digit (decision 0031). `JSON.parse` turns `18446744073709551615` into
 * `18446744073709552000`, `1e400` into Infinity, which `JSON.stringify` writes as `null`, and `1.0`, which
 * is a float in Python, into the integer `1`. What users send (inputs, outputs, results, metrics, the data
 * of events) is theirs: the edge must pass it on as it came.
 *
 * A number that JavaScript would write differently becomes the object of `JSON.rawJSON`, which
 * `JSON.stringify` writes as it was sent. All others stay numbers.
 *
 * The parser's own reviver would find them too, but takes fifty times as long: a call for each value.
 */
export function parseExact(text: string): Json {
  return parseWith(text, (value) => unmark(value, exactly));
}

/**
 * Like `parseExact`, for a frame or a body: only numbers inside of what users send (`input`, `output` and the
 * like, see `OF_USERS`) keep their digits. The other fields, such as `priority` or `progress`, become ordinary
 * numbers, because the edge computes with them.
 */
export function parseMessage(text: string): Json {
  return parseWith(text, unmarkFields);
}

function parseWith(text: string, restore: (value: Json) => Json): Json {
  const marked = markNumbers(text);
  if (marked === null) return JSON.parse(text);
  const value = restore(JSON.parse(marked.text));
  return marked.isDoubled ? undoubled(value) : value;
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
  "schema",
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

/** A number, from its first character: what JSON allows, and what follows that must not. */
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\d.eE+-]|[ \t\r\n]*:)/y;

/** Deeper than any value that is taken: what lies deeper need not be read, and would overflow the stack. */
const DEEPEST = 500;

/** Before the digits of a number that stands in a string; NULs of users are doubled, so no other string begins so. */
const MARK = "\u0000";
const MARK_IN_TEXT = "\\u0000";

interface Marked {
  text: string;
  /** NULs of users are doubled. */
  isDoubled: boolean;
}

/**
 * The text with each number that JavaScript would write differently as a string that `unmark` recognizes; `null` if it
 * has no such number.
 */
function markNumbers(given: string): Marked | null {
  if (JSON.rawJSON === undefined || !mayLoseDigits(given)) return null;
  const isDoubled = given.includes(MARK_IN_TEXT);
  const text = isDoubled ? doubled(given) : given;
  const parts: string[] = [];
  let copied = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === QUOTE) {
      index = endOfString(text, index);
      if (index === -1) break;
    } else if (unit === MINUS || isDigit(unit)) {
      const end = endOfNumber(text, index);
      const number = isUnusual(text, index, end) ? numberAt(text, index) : null;
      if (number !== null && String(Number(number)) !== number) {
        parts.push(`${text.slice(copied, index)}"${MARK_IN_TEXT}${number}"`);
        copied = index + number.length;
      }
      index = Math.max(end, copied) - 1;
    }
  }
  if (parts.length === 0) return null;
  return { text: parts.join("") + text.slice(copied), isDoubled };
}

/** An escape is taken with what it escapes: in `\\u0000` a backslash is escaped, and no NUL. */
function doubled(text: string): string {
  return text.replace(/\\(?:u0000|[\s\S])/g, (found) =>
    found === MARK_IN_TEXT ? MARK_IN_TEXT + MARK_IN_TEXT : found,
  );
}

function undoubled(value: Json, depth = 0): Json {
  if (depth > DEEPEST) return value;
  if (typeof value === "string") return value.replaceAll(MARK + MARK, MARK);
  if (typeof value !== "object" || value === null || isExactNumber(value)) return value;
  if (Array.isArray(value)) return value.map((item) => undoubled(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name.replaceAll(MARK + MARK, MARK),
      undoubled(field, depth + 1),
    ]),
  );
}

/** The number that begins here; `null` if what begins here is none, which the parser then refuses. */
function numberAt(text: string, start: number): string | null {
  NUMBER.lastIndex = start;
  return NUMBER.test(text) ? text.slice(start, NUMBER.lastIndex) : null;
}

function exactly(number: string): Json {
  return JSON.rawJSON(number) as unknown as Json;
}

/** Puts numbers in the place of the strings that `markNumbers` made of them. Changes `value`, which nobody else has. */
function unmark(value: Json, make: (number: string) => Json, depth = 0): Json {
  if (depth > DEEPEST) return value;
  return replaceWithin(value, make, (_name, field) => unmark(field, make, depth + 1));
}

/** Numbers keep their digits only inside of what users send. */
function unmarkFields(value: Json, depth = 0): Json {
  if (depth > DEEPEST) return value;
  return replaceWithin(value, Number, (name, field) => {
    if (OF_USERS.has(name)) return unmark(field, exactly, depth + 1);
    // A filter's fields have the names that users chose, but the edge compares their values.
    return name === "filter" ? unmark(field, Number, depth + 1) : unmarkFields(field, depth + 1);
  });
}

function replaceWithin(
  value: Json,
  make: (number: string) => Json,
  replace: (name: string, field: Json) => Json,
): Json {
  if (typeof value === "string") {
    const isNumber = value.startsWith(MARK) && value[1] !== MARK;
    return isNumber ? make(value.slice(MARK.length)) : value;
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      value[index] = replace("", value[index] as Json);
    }
    return value;
  }
  for (const [name, field] of Object.entries(value)) {
    const replaced = replace(name, field);
    // Setting a field with the name `__proto__` would do something else.
    if (replaced !== field) Object.defineProperty(value, name, { ...FIELD, value: replaced });
  }
  return value;
}

const FIELD = { configurable: true, enumerable: true, writable: true };

/** `Object.fromEntries` sets a field with any name, `__proto__` among them. */
function mapFields(object: JsonObject, map: (name: string, field: Json) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, field]) => [name, map(name, field)]),
  );
}
