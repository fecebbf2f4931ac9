import { readFields } from "../src/protocol/broken-json.ts";
import type { Json } from "../src/protocol/codec.ts";
import { mayLoseDigits } from "../src/protocol/exact-json.ts";

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

/**
 * The field of a JSON object as the text that stands for it, with every digit and every field; `null` if there is
 * none. The text is cut out, because Node.js 20 has no `JSON.rawJSON`.
 */
export function exactTextOf(json: string, name: string): string | null {
  return readFields(json).get(name)?.at(-1) ?? null;
}

/** The fields of a frame; those in `names` keep the digits of their numbers. */
export function withExactFields<T extends object>(
  frame: T,
  json: string,
  names: readonly string[],
): T {
  if (!mayLoseDigits(json)) return frame;
  const exact = names.flatMap((name) => {
    const text = Object.hasOwn(frame, name) ? exactTextOf(json, name) : null;
    return text === null ? [] : [[name, jsonText(text)] as const];
  });
  return { ...frame, ...Object.fromEntries(exact) };
}
