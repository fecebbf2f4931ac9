import type { Json, JsonObject } from "../protocol/codec.ts";
import { fieldsOf, unwrap } from "../schema/fields.ts";
import { fieldOf, isObject } from "../schema/json-kind.ts";
import { labelOf } from "./labels.ts";

/** A part of a result, and how it is shown. */
export interface ResultPartView {
  /** `null`: it is the whole. */
  label: string | null;
  value: Json;
  isMarkdown: boolean;
}

/**
 * The parts of a result as the schema of results names them, and then what it doesn't name; `null` if the schema is
 * about something else: the result may be older than it.
 */
export function resultPartsOf(result: Json, root: JsonObject): ResultPartView[] | null {
  const { schema } = unwrap(root, root);
  if (typeof result === "string") {
    return schema.type === "string" ? [partOf(null, result, schema)] : null;
  }
  if (!isObject(result)) return null;
  const fields = fieldsOf(schema, root).filter(({ name }) => Object.hasOwn(result, name));
  if (fields.length === 0) return null;
  const known = new Set(fields.map(({ name }) => name));
  const others = Object.entries(result).filter(([name]) => !known.has(name));
  return [
    ...fields.map(({ name, schema }) =>
      partOf(labelOf(name, schema), fieldOf(result, name) ?? null, schema),
    ),
    ...(others.length === 0
      ? []
      : [{ label: "Everything else", value: Object.fromEntries(others), isMarkdown: false }]),
  ];
}

function partOf(label: string | null, value: Json, { format }: JsonObject): ResultPartView {
  return { label, value, isMarkdown: format === "markdown" };
}
