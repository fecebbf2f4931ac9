import { LIMITS } from "./limits.ts";

/**
 * Reads what can be read of a text that should be JSON and may not be: `NaN` in it, single quotes, cut off.
 * It is for the reports about such texts, so that they name what they are about, and for cutting out of a text
 * what stands for a field.
 */

interface Parts {
  /** What stands between the commas of the outermost list or object. */
  texts: string[];
  /** What follows after its closing bracket; `null` if it is never closed. */
  rest: string | null;
}

/** More parts than any frame or batch has: a text with more is not read. */
const MOST_PARTS = LIMITS.batchFrames;

/** The parts of the list or object that a text begins with; `null` if it begins with none. */
function partsOf(text: string): Parts | null {
  const opening = /^\s*[[{]/.exec(text);
  if (opening === null) return null;
  const texts: string[] = [];
  let start = opening[0].length;
  let depth = 1;
  for (let at = start; at < text.length && texts.length <= MOST_PARTS; at += 1) {
    const character = text.charAt(at);
    if (character === '"' || character === "'") {
      at = endOfString(text, at) - 1;
      if (at < start) break;
    } else if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") depth -= 1;
    if (depth > 0 && !(depth === 1 && character === ",")) continue;
    texts.push(text.slice(start, at));
    start = at + 1;
    if (depth === 0) return { texts, rest: text.slice(start) };
  }
  if (texts.length > MOST_PARTS) return null;
  texts.push(text.slice(start));
  return { texts, rest: null };
}

/** Where a string that begins at `start` ends, after its closing quote; -1 if it doesn't. */
function endOfString(text: string, start: number): number {
  const quote = text.charAt(start);
  for (let end = text.indexOf(quote, start + 1); end !== -1; end = text.indexOf(quote, end + 1)) {
    let escapes = 0;
    while (text.charAt(end - 1 - escapes) === "\\") escapes += 1;
    if (escapes % 2 === 0) return end + 1;
  }
  return -1;
}

/** A field of an object; its name may lack the quotes, as in JavaScript, and Ruby writes `=>`. */
const FIELD = /^\s*(?:"([^"\\]{0,60})"|'([^'\\]{0,60})'|([A-Za-z_]\w{0,59}))\s*(?::|=>)\s*/;

/** What stands for each field of the object that a text begins with. Fields that are cut off are left out. */
export function readFields(text: string): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  if (!/^\s*\{/.test(text)) return fields;
  const { texts = [], rest = null } = partsOf(text) ?? {};
  texts.forEach((part, index) => {
    const match = FIELD.exec(part);
    if (match === null) return;
    const name = match[1] ?? match[2] ?? match[3] ?? "";
    const value = part.slice(match[0].length).trimEnd();
    // Of the part at which the text is cut off only a string can be whole: a number may lack digits.
    const mayBeCut = rest === null && index === texts.length - 1;
    if (mayBeCut && readString(value) === null) return;
    fields.set(name, [...(fields.get(name) ?? []), value]);
  });
  return fields;
}

/** The string that a value is, without its quotes; `null` if it is none, or has escapes. */
export function readString(value: string | undefined): string | null {
  const match = /^(?:"([^"\\]*)"|'([^'\\]*)')$/.exec(value ?? "");
  return match?.[1] ?? match?.[2] ?? null;
}

/** The entries of the list that is the field `name`, as texts; `null` if the brackets don't fit. */
export function readList(text: string, name: string): string[] | null {
  const outer = partsOf(text);
  const [value, another] = readFields(text).get(name) ?? [];
  if (outer?.rest?.trim() !== "" || another !== undefined || !value?.startsWith("[")) return null;
  const list = partsOf(value);
  return list?.rest?.trim() === "" ? list.texts : null;
}

const LITERAL =
  /(?:^|[\s:,[])([-+]?(?:NaN|Infinity|nan|inf)|None|True|False|undefined)(?=[\s,\]}]|$)/;

/** Says what makes a text no JSON: part of a sentence, such as `it ends too early`. */
export function whyNotJson(text: string): string {
  if (text.trim() === "") return "it is empty";
  if (/^\s*\uFEFF/.test(text) && isJson(text.trim())) {
    return "it begins with a byte order mark (U+FEFF): leave it out";
  }
  const { bare, isWhole } = withoutStrings(text);
  const literal = LITERAL.exec(bare)?.[1];
  if (bare.includes("''")) {
    return "it has single quotes: JSON has double quotes, as json.dumps() and JSON.stringify() write them";
  }
  if (literal !== undefined)
    return `it has ${literal}, which JSON doesn't have: send null or a text`;
  if (/,\s*[\]}]/.test(bare)) return "it has a comma too many, before a closing bracket";
  if (!isWhole || partsOf(text)?.rest === null) return "it ends too early";
  if (/[{,]\s*[A-Za-z_]\w*\s*:/.test(bare)) return "it has a name without double quotes";
  if (partsOf(text)?.rest?.trim()) return "something follows after its end";
  return "it is not valid JSON";
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The text with its strings emptied; `isWhole`: none of them was cut off. */
function withoutStrings(text: string): { bare: string; isWhole: boolean } {
  let bare = "";
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character !== '"' && character !== "'") continue;
    bare += `${text.slice(start, at)}${character}${character}`;
    start = endOfString(text, at);
    if (start === -1) return { bare, isWhole: false };
    at = start - 1;
  }
  return { bare: bare + text.slice(start), isWhole: true };
}
