import { parse, stringify } from "lossless-json";
import type { Json } from "../src/protocol/codec.ts";
import { mayLoseDigits, parseExact } from "../src/protocol/exact-json.ts";

/**
 * A value that is sent exactly as the text says. JavaScript's numbers lose digits: `18446744073709551615`
 * becomes `18446744073709552000`. It stands wherever a JSON value may, in `job.output()`, `job.metrics()` and
 * as a handler's result.
 *
 * @param text must be JSON
 */
export function jsonText(text: string): Json {
  // It is known only to `encodeFrame`; everything else just passes it on.
  return new JsonText(text) as unknown as Json;
}

export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

type Path = readonly (string | number)[];

/** Node.js 20 lacks `JSON.rawJSON`. The library that stands in for it there loses fields named `__proto__`. */
const EXACT =
  "rawJSON" in JSON ? { parse: parseExact, stringify: JSON.stringify } : { parse, stringify };

/** The value at a path of a JSON text, as JSON text that keeps every digit; `null` if there is no such value. */
export function exactTextAt(json: string, path: Path): string | null {
  let value: unknown = EXACT.parse(json);
  for (const name of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  }
  return EXACT.stringify(value) ?? null;
}

/** The fields of a frame; those in `names` keep the digits of their numbers. */
export function withExactFields<T extends object>(
  frame: T,
  json: string,
  names: readonly string[],
): T {
  if (!mayLoseDigits(json)) return frame;
  const exact = names.flatMap((name) => {
    const text = Object.hasOwn(frame, name) ? exactTextAt(json, [name]) : null;
    return text === null ? [] : [[name, jsonText(text)] as const];
  });
  return { ...frame, ...Object.fromEntries(exact) };
}
