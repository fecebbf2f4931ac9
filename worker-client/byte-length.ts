import { byteLength as countBytes } from "../src/protocol/codec.ts";

/** The length of a text in UTF-8, bytes. Node.js counts them natively, some ten times as fast. */
export const byteLength: (text: string) => number =
  globalThis.Buffer === undefined ? countBytes : (text) => Buffer.byteLength(text);
