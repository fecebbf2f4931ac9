import { readFileSync } from "node:fs";
import { whyNotJson } from "../src/protocol/broken-json.ts";
import { parseJson } from "../src/protocol/codec.ts";
import type { DeclaredSchema } from "../src/protocol/declared-schema.ts";
import { parseExact } from "../src/protocol/exact-json.ts";
import { readDeclared } from "../src/schema/declared.ts";
import { InvalidOptions } from "./worker-options.ts";

/**
 * Reads the schema of a worker's jobs from a file with `{"input": …, "output": …}`.
 *
 * @throws {InvalidOptions} if it can't be read, or the edge would not take it
 */
export function readSchemaFile(path: string): DeclaredSchema {
  const text = readText(path);
  const parsed = parseJson(text, undefined, parseExact);
  if (!parsed.ok) throw new InvalidOptions(`The file ${path} is not JSON: ${whyNotJson(text)}.`);
  const read = readDeclared(parsed.value);
  if (!read.ok) throw new InvalidOptions(`${path}: ${read.message}`);
  return read.schema;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidOptions(`The schema's file can't be read: ${why}.`);
  }
}
