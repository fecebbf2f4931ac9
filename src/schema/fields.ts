import type { Json, JsonObject } from "../protocol/codec.ts";
import { FILE_FORMATS, type FileFormat } from "../protocol/file-formats.ts";
import { fieldOf, isObject } from "./json-kind.ts";

/** A property as a form shows it: references are followed, and "or null" is taken apart. */
export interface Field {
  name: string;
  /** With the keywords of what it refers to; those that stand beside `$ref` count more. */
  schema: JsonObject;
  isRequired: boolean;
  /** Whether `null` stands for no value. */
  isNullable: boolean;
}

/** A property that is sent as a file, or several. */
export interface FileField {
  format: FileFormat;
  isList: boolean;
  /** What kind of content: `image/png` or `image/*`; `null`: that of the format. */
  mediaType: string | null;
}

/** Longest way of references and alternatives that is followed: a checked schema has no longer one. */
const MOST_HOPS = 64;

/** The properties of a schema of an object, in their order. */
export function fieldsOf(schema: JsonObject, root: JsonObject): Field[] {
  const properties = fieldOf(schema, "properties");
  if (!isObject(properties)) return [];
  const required = fieldOf(schema, "required");
  const names = new Set(Array.isArray(required) ? required : []);
  return Object.entries(properties).map(([name, property]) => ({
    name,
    ...unwrap(property, root),
    isRequired: names.has(name),
  }));
}

/** What a schema stands for, if it refers to another one or has `null` for an alternative. */
export function unwrap(given: Json, root: JsonObject): { schema: JsonObject; isNullable: boolean } {
  let schema: JsonObject = isObject(given) ? given : {};
  let isNullable = false;
  for (let hops = 0; hops < MOST_HOPS; hops += 1) {
    const next = onlyOne(schema, root);
    if (next === null) break;
    isNullable ||= next.isNullable;
    schema = next.schema;
  }
  const type = fieldOf(schema, "type");
  if (!Array.isArray(type)) return { schema, isNullable };
  const others = type.filter((name) => name !== "null");
  const [only = "null"] = others;
  return {
    schema: { ...schema, type: others.length > 1 ? others : only },
    isNullable: isNullable || others.length < type.length,
  };
}

/** The keywords that a form or a result shows, and no others: copies of all would be large. */
const SHOWN = [
  "title",
  "description",
  "type",
  "format",
  "contentMediaType",
  "default",
  "examples",
  "enum",
  "const",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "uniqueItems",
  "items",
  "prefixItems",
  "properties",
  "required",
];
const WAYS = ["$ref", "anyOf", "oneOf", "allOf"];

function pick(schema: Json | null, names: readonly string[]): JsonObject {
  if (!isObject(schema ?? undefined)) return {};
  const own = schema as JsonObject;
  return Object.fromEntries(
    names.flatMap((name) => (Object.hasOwn(own, name) ? [[name, own[name] as Json]] : [])),
  );
}

/** The schema that this one is in other words; `null` if it is none. */
function onlyOne(
  schema: JsonObject,
  root: JsonObject,
): { schema: JsonObject; isNullable: boolean } | null {
  const { $ref, anyOf, oneOf, allOf } = schema;
  if ($ref === undefined && anyOf === undefined && oneOf === undefined && allOf === undefined)
    return null;
  const own = pick(schema, SHOWN);
  if (typeof $ref === "string") {
    const target = pick(resolve($ref, root), [...SHOWN, ...WAYS]);
    const { $ref: _, ...ways } = pick(schema, WAYS);
    return { schema: { ...target, ...ways, ...own }, isNullable: false };
  }
  for (const ways of [anyOf, oneOf, allOf]) {
    if (!Array.isArray(ways)) continue;
    const others = ways.filter((way) => !isNull(way));
    const [only] = others;
    const isOne = others.length === 1 && isObject(only) && (ways !== allOf || ways.length === 1);
    if (isOne) {
      const one = pick(only, [...SHOWN, ...WAYS]);
      return { schema: { ...one, ...own }, isNullable: others.length < ways.length };
    }
    // Several alternatives and null: the choice of one of several constants, or none.
    if (others.length < ways.length && ways !== allOf)
      return { schema: { ...own, oneOf: others }, isNullable: true };
  }
  return null;
}

function isNull(schema: Json): boolean {
  return isObject(schema) && (schema.type === "null" || schema.const === null);
}

/** The file that a property stands for; `null` if it stands for none. */
export function fileFieldOf(property: Json, root: JsonObject): FileField | null {
  const { schema } = unwrap(property, root);
  const items = fieldOf(schema, "items");
  const isList = schema.type === "array" && items !== undefined;
  const one = isList ? unwrap(items, root).schema : schema;
  const format = FILE_FORMATS.find((name) => name === one.format);
  if (format === undefined || (one.type !== undefined && one.type !== "string")) return null;
  const { contentMediaType: mediaType } = one;
  return { format, isList, mediaType: typeof mediaType === "string" ? mediaType : null };
}

/** The schema that a reference within `root` names, such as `#/$defs/size`; `null` if it names none. */
export function resolve(ref: string, root: JsonObject): Json | null {
  let found: Json | undefined = root;
  const names = decodeFragment(ref.slice(1)).split("/").slice(1);
  for (const escaped of names) {
    const name = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(found)) found = found[Number(name)];
    else found = isObject(found) ? fieldOf(found, name) : undefined;
  }
  return found === undefined ? null : found;
}

/** A part of a reference may be percent-encoded. */
export function decodeFragment(fragment: string): string {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}
