import { z } from "zod";
import type { Json, JsonObject } from "../src/client/index.ts";
import { parseExact } from "../src/protocol/exact-json.ts";
import { UsageError } from "./explain.ts";

/** What is read of a property of a space's schema; everything else is the edge's business. */
const property = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  format: z.string().optional(),
  items: z.looseObject({ type: z.string().optional(), format: z.string().optional() }).optional(),
});
type Property = z.infer<typeof property>;

/** The schema of a space's input, as far as it is read here. */
export const inputSchema = z.looseObject({
  properties: z.record(z.string(), property).default({}),
  required: z.array(z.string()).default([]),
});
export type InputSchema = z.infer<typeof inputSchema>;

const FILE_FORMATS: readonly (string | undefined)[] = ["file", "image", "audio", "video"];

/** `name=value`, or `name:=JSON` for a value of any type. */
export interface Field {
  name: string;
  value: string;
  isJson: boolean;
}

/** @throws {UsageError} */
export function parseField(text: string): Field {
  const [, name, colon, value] = /^([^=:]+)(:?)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new UsageError(
      `--field ${text}: it has no value`,
      "write --field name=value, or name:=JSON",
    );
  }
  return { name, value, isJson: colon === ":" };
}

/** What the command line says about a job's input. */
export interface GivenInput {
  prompt: string | null;
  fields: readonly Field[];
  /** The fields of `--input`, to which the others are added. */
  base: JsonObject;
}

/**
 * Makes a job's input. Values become what the schema says: without one they are texts.
 *
 * @throws {UsageError} if a value can't be what the schema says
 */
export function buildInput(
  { prompt, fields, base }: GivenInput,
  schema: InputSchema | null,
): JsonObject {
  const input: JsonObject = { ...base };
  const set = (name: string, value: Json) => {
    Object.defineProperty(input, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  };
  for (const [name, values] of grouped(fields)) {
    const known = schema?.properties[name];
    if (schema !== null && known !== undefined && isFile(known)) {
      throw new UsageError(`${name} is a file`, `send it with --file ${name}=<path>`);
    }
    set(name, readValue(name, values, known));
  }
  if (prompt !== null) set(promptField(schema, input), prompt);
  return input;
}

function isFile({ format, items }: Property): boolean {
  return FILE_FORMATS.includes(format) || FILE_FORMATS.includes(items?.format);
}

/** A field may be given several times: then it is a list. */
function grouped(fields: readonly Field[]): Map<string, Field[]> {
  const groups = new Map<string, Field[]>();
  for (const field of fields) groups.set(field.name, [...(groups.get(field.name) ?? []), field]);
  return groups;
}

function readValue(name: string, values: readonly Field[], known: Property | undefined): Json {
  const types = [known?.type ?? []].flat();
  const isList = types.includes("array");
  const read = (field: Field, as: readonly string[]) =>
    field.isJson ? readJson(name, field.value) : convert(name, field.value, as);
  const [first] = values;
  if (!isList) {
    if (first !== undefined && values.length === 1) return read(first, types);
    if (known === undefined) return values.map((field) => read(field, []));
    throw new UsageError(`--field ${name} is given ${values.length} times, and takes one value`);
  }
  // A whole list at once.
  if (values.length === 1 && first !== undefined) {
    if (first.isJson || first.value.trimStart().startsWith("[")) return readJson(name, first.value);
  }
  return values.map((field) => read(field, [known?.items?.type ?? "string"]));
}

function convert(name: string, text: string, types: readonly string[]): Json {
  if (types.length === 0 || types.includes("string")) return text;
  if (types.includes("boolean")) {
    const known = BOOLEANS[text.toLowerCase()];
    if (known !== undefined) return known;
  }
  if ((types.includes("number") || types.includes("integer")) && NUMBER.test(text)) {
    return parseExact(text);
  }
  if (types.includes("null") && (text === "" || text === "null")) return null;
  if (types.includes("object")) return readJson(name, text);
  throw new UsageError(`--field ${name}=${text}: it must be ${words(types)}`);
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const BOOLEANS: Record<string, boolean> = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false,
};

function words(types: readonly string[]): string {
  const spoken: Record<string, string> = {
    number: "a number",
    integer: "a whole number",
    boolean: "true or false",
    null: "empty",
    object: "a JSON object",
  };
  return types.map((type) => spoken[type] ?? type).join(" or ");
}

function readJson(name: string, text: string): Json {
  try {
    return parseExact(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--field ${name}: the value is not JSON: ${why}`);
  }
}

/** Where the prompt goes: a schema may call its only text something else. */
function promptField(schema: InputSchema | null, input: JsonObject): string {
  const properties = Object.entries(schema?.properties ?? {});
  if (schema === null || properties.length === 0 || "prompt" in schema.properties) return "prompt";
  const texts = properties
    .filter(([name, known]) => known.type === "string" && !isFile(known) && !(name in input))
    .map(([name]) => name);
  const needed = texts.filter((name) => schema.required.includes(name));
  const [only, ...others] = needed.length > 0 ? needed : texts;
  if (only !== undefined && others.length === 0) return only;
  const names = properties.map(([name]) => name).join(", ");
  throw new UsageError(
    "the space takes no prompt",
    `give its fields with --field name=value: ${names}`,
  );
}
