import type { Json, JsonObject } from "../protocol/codec.ts";
import { isExactNumber } from "../protocol/exact-json.ts";
import { numberKey } from "./decimal.ts";

/** The types of JSON. Numbers that keep their digits are objects to JavaScript (decision 0031). */
export type JsonKind = "null" | "boolean" | "number" | "string" | "array" | "object";

export function kindOf(value: Json): JsonKind {
  switch (typeof value) {
    case "string":
      return "string";
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    default:
      if (value === null) return "null";
      if (Array.isArray(value)) return "array";
      return isExactNumber(value) ? "number" : "object";
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return value !== undefined && kindOf(value) === "object";
}

/** A field of an object; `undefined` for what the object only inherits, such as `constructor`. */
export function fieldOf(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** The same text for values that are equal in JSON Schema: 1 and 1.0 are, and the order of fields doesn't count. */
export function valueKey(value: Json): string {
  switch (kindOf(value)) {
    case "number":
      return numberKey(value);
    case "array":
      return `[${(value as Json[]).map(valueKey).join()}]`;
    case "object": {
      const object = value as JsonObject;
      const names = Object.keys(object).sort();
      return `{${names.map((name) => `${JSON.stringify(name)}:${valueKey(object[name] ?? null)}`).join()}}`;
    }
    default:
      return JSON.stringify(value);
  }
}
