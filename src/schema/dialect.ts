import type { Json, JsonObject } from "../protocol/codec.ts";
import { escapeName } from "./check-run.ts";
import { compare, decimalOf, isWhole } from "./decimal.ts";
import { isObject, kindOf } from "./json-kind.ts";
import { countSteps } from "./pattern.ts";
import { PatternError } from "./pattern-steps.ts";

/** A schema that can't be taken: `pointer` says where in what the worker declared. */
export class SchemaError extends Error {
  constructor(pointer: string, why: string) {
    super(`${pointer} ${why}`);
  }
}

export interface SubSchema {
  pointer: string;
  schema: Json;
}

/** The value of a keyword must be of this shape; the schemas within it are returned. */
type Shape = (value: Json, pointer: string) => SubSchema[];

const TYPES: ReadonlySet<Json> = new Set([
  "string",
  "number",
  "integer",
  "boolean",
  "array",
  "object",
  "null",
]);

/** Longest text of a number or an expression in a schema, characters: arithmetic with it takes time. */
const MOST_DIGITS = 100;
const MOST_PATTERN = 2_000;
/** Longest name of a property, characters: it is part of the pointers of all that lies below. */
const MOST_NAME = 200;

const anyValue: Shape = () => [];

const text: Shape = (value, pointer) => {
  if (typeof value !== "string") throw new SchemaError(pointer, "must be text");
  return [];
};

const flag: Shape = (value, pointer) => {
  if (typeof value !== "boolean") throw new SchemaError(pointer, "must be true or false");
  return [];
};

const number: Shape = (value, pointer) => {
  if (kindOf(value) !== "number") throw new SchemaError(pointer, "must be a number");
  if (JSON.stringify(value).length > MOST_DIGITS) {
    throw new SchemaError(pointer, `must have ${MOST_DIGITS} digits at most`);
  }
  return [];
};

const step: Shape = (value, pointer) => {
  number(value, pointer);
  if (compare(decimalOf(value), decimalOf(0)) <= 0)
    throw new SchemaError(pointer, "must be above 0");
  return [];
};

const count: Shape = (value, pointer) => {
  number(value, pointer);
  const decimal = decimalOf(value);
  if (!isWhole(decimal) || compare(decimal, decimalOf(0)) < 0) {
    throw new SchemaError(pointer, "must be a whole number, 0 or more");
  }
  return [];
};

const list: Shape = (value, pointer) => {
  if (!Array.isArray(value)) throw new SchemaError(pointer, "must be a list");
  return [];
};

const choices: Shape = (value, pointer) => {
  if (!Array.isArray(value) || value.length === 0)
    throw new SchemaError(pointer, "must be a list with one entry or more");
  return [];
};

const names: Shape = (value, pointer) => {
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string"))
    throw new SchemaError(pointer, "must be a list of names");
  return [];
};

const type: Shape = (value, pointer) => {
  const types = Array.isArray(value) ? value : [value];
  if (types.length === 0 || !types.every((name) => TYPES.has(name)))
    throw new SchemaError(pointer, `must be one of ${[...TYPES].join(", ")}, or a list of them`);
  return [];
};

const pattern: Shape = (value, pointer) => {
  if (typeof value !== "string") throw new SchemaError(pointer, "must be text");
  if (value.length > MOST_PATTERN)
    throw new SchemaError(pointer, `must have ${MOST_PATTERN} characters at most`);
  try {
    countSteps(value);
  } catch (error) {
    if (error instanceof PatternError) throw new SchemaError(pointer, error.message);
    throw error;
  }
  return [];
};

const schema: Shape = (value, pointer) => {
  if (typeof value !== "boolean" && !isObject(value))
    throw new SchemaError(pointer, "must be a schema: a JSON object, true or false");
  return [{ pointer, schema: value }];
};

const schemas: Shape = (value, pointer) => {
  choices(value, pointer);
  return (value as Json[]).flatMap((entry, index) => schema(entry, `${pointer}/${index}`));
};

const named =
  (shape: Shape): Shape =>
  (value, pointer) => {
    if (!isObject(value)) throw new SchemaError(pointer, "must be a JSON object");
    if (Object.keys(value).some((name) => name.length > MOST_NAME))
      throw new SchemaError(pointer, `has a name of more than ${MOST_NAME} characters`);
    return Object.entries(value).flatMap(([name, entry]) =>
      shape(entry, `${pointer}/${escapeName(name)}`),
    );
  };

const byPattern: Shape = (value, pointer) => {
  const found = named(schema)(value, pointer);
  for (const name of Object.keys(value as JsonObject)) {
    pattern(name, `${pointer}/${escapeName(name)}`);
  }
  return found;
};

const localRef: Shape = (value, pointer) => {
  if (typeof value !== "string" || !value.startsWith("#"))
    throw new SchemaError(
      pointer,
      "must be within this schema, such as #/$defs/size: nothing is fetched",
    );
  return [];
};

const items: Shape = (value, pointer) => {
  if (Array.isArray(value))
    throw new SchemaError(pointer, "must be one schema: a list of them is `prefixItems`");
  return schema(value, pointer);
};

const refused =
  (why: string): Shape =>
  (_value, pointer) => {
    throw new SchemaError(pointer, why);
  };

const NOT_TAKEN = refused("is not taken here: leave it out");

/** Every keyword that means something here; others are descriptions, which pages may show. */
const KEYWORDS: ReadonlyMap<string, Shape> = new Map([
  ["type", type],
  ["title", text],
  ["description", text],
  ["format", text],
  ["contentMediaType", text],
  ["default", anyValue],
  ["examples", list],
  ["const", anyValue],
  ["enum", choices],
  ["minimum", number],
  ["maximum", number],
  ["exclusiveMinimum", number],
  ["exclusiveMaximum", number],
  ["multipleOf", step],
  ["minLength", count],
  ["maxLength", count],
  ["pattern", pattern],
  ["minItems", count],
  ["maxItems", count],
  ["uniqueItems", flag],
  ["items", items],
  ["prefixItems", schemas],
  ["contains", schema],
  ["minContains", count],
  ["maxContains", count],
  ["properties", named(schema)],
  ["patternProperties", byPattern],
  ["additionalProperties", schema],
  ["propertyNames", schema],
  ["required", names],
  ["minProperties", count],
  ["maxProperties", count],
  ["dependentRequired", named(names)],
  ["dependentSchemas", named(schema)],
  ["allOf", schemas],
  ["anyOf", schemas],
  ["oneOf", schemas],
  ["not", schema],
  ["if", schema],
  ["then", schema],
  ["else", schema],
  ["$ref", localRef],
  ["$defs", named(schema)],
  ["definitions", named(schema)],
  ["$dynamicRef", NOT_TAKEN],
  ["$dynamicAnchor", NOT_TAKEN],
  ["$recursiveRef", NOT_TAKEN],
  ["$anchor", NOT_TAKEN],
  ["unevaluatedProperties", refused("is not taken here: use `additionalProperties`")],
  ["unevaluatedItems", refused("is not taken here: use `items`")],
  ["additionalItems", refused("is of an older JSON Schema: use `items` after `prefixItems`")],
  [
    "dependencies",
    refused("is of an older JSON Schema: use `dependentRequired` or `dependentSchemas`"),
  ],
]);

/**
 * The schemas directly within a schema, in `inPlace` those that look at the same value.
 *
 * @throws {SchemaError} if a keyword of it has a wrong value
 */
export function readKeywords({ pointer, schema }: SubSchema): SubSchema[] {
  if (!isObject(schema)) return [];
  return Object.entries(schema).flatMap(
    ([name, value]) => KEYWORDS.get(name)?.(value, `${pointer}/${escapeName(name)}`) ?? [],
  );
}

/** The schemas within a schema that look at the same value as it, without those that `$ref` names. */
export function inPlace({ pointer, schema }: SubSchema): SubSchema[] {
  if (!isObject(schema)) return [];
  return Object.entries(schema).flatMap(([name, value]) =>
    IN_PLACE.has(name) ? (KEYWORDS.get(name)?.(value, `${pointer}/${escapeName(name)}`) ?? []) : [],
  );
}

const IN_PLACE = new Set([
  "allOf",
  "anyOf",
  "oneOf",
  "not",
  "if",
  "then",
  "else",
  "dependentSchemas",
]);

/** How many steps the expressions of a schema itself have, which was read. */
export function patternSteps({ schema }: SubSchema): number {
  if (!isObject(schema)) return 0;
  const { pattern, patternProperties } = schema;
  const sources = isObject(patternProperties) ? Object.keys(patternProperties) : [];
  if (typeof pattern === "string") sources.push(pattern);
  return sources.reduce((sum, source) => sum + countSteps(source), 0);
}
