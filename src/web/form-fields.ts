import type { Json, JsonObject } from "../protocol/codec.ts";
import { type FileField, fieldsOf, fileFieldOf, unwrap } from "../schema/fields.ts";
import { fieldOf, isObject, kindOf } from "../schema/json-kind.ts";
import { labelOf, textOf } from "./labels.ts";

export interface Choice {
  value: Json;
  label: string;
  description: string | null;
}

/** How a field is filled in. */
export type FieldKind =
  | { kind: "text"; isLong: boolean; type: "text" | "password" | "email" | "url" }
  | { kind: "number"; isWhole: boolean; slider: { min: number; max: number; step: number } | null }
  | { kind: "choice"; choices: Choice[] }
  /** Any number of them. */
  | { kind: "choices"; choices: Choice[] }
  | { kind: "switch" }
  | { kind: "moment"; type: "date" | "time" | "datetime-local" }
  | { kind: "list"; item: FormField }
  | { kind: "group"; fields: FormField[] }
  | { kind: "file"; file: FileField }
  /** Typed as JSON, because no better way is known. */
  | { kind: "json" };

/** One field of a form, as the schema of the space has it. */
export interface FormField {
  name: string;
  label: string;
  description: string | null;
  isRequired: boolean;
  kind: FieldKind;
  initial: Json | undefined;
  examples: Json[];
  /** The bounds, in words. */
  facts: string[];
}

/** Deeper objects are typed as JSON: a form within a form within a form can't be read. */
const DEEPEST_GROUP = 3;
/** How many examples are offered. */
const MOST_EXAMPLES = 8;

/** Most fields within groups: a schema may refer to itself, with all its fields in each of its fields. */
const MOST_GROUPED = 500;

/** Where a field is made. */
interface Place {
  root: JsonObject;
  depth: number;
  /** How many more fields groups may have; counted by all of a form together. */
  room: { fields: number };
}

/** The fields of the form that a schema stands for. */
export function formFieldsOf(schema: JsonObject): FormField[] {
  return fieldsIn(schema, { root: schema, depth: 0, room: { fields: MOST_GROUPED } });
}

function fieldsIn(schema: JsonObject, place: Place): FormField[] {
  return fieldsOf(schema, place.root).map(({ name, schema: own, isRequired }) => ({
    ...fieldFor(name, own, place),
    isRequired,
  }));
}

function fieldFor(name: string, schema: JsonObject, place: Place): FormField {
  const { description, default: initial, examples } = schema;
  return {
    name,
    label: labelOf(name, schema),
    description: typeof description === "string" ? description : null,
    isRequired: false,
    kind: kindFor(name, schema, place),
    initial,
    examples: Array.isArray(examples) ? examples.slice(0, MOST_EXAMPLES) : [],
    facts: factsOf(schema),
  };
}

function kindFor(name: string, schema: JsonObject, place: Place): FieldKind {
  const file = fileFieldOf(schema, place.root);
  if (file !== null) return { kind: "file", file };
  const choices = choicesOf(schema);
  if (choices !== null) return { kind: "choice", choices };
  switch (schema.type) {
    case "string":
      return textKind(name, schema);
    case "number":
    case "integer":
      return { kind: "number", isWhole: schema.type === "integer", slider: sliderOf(schema) };
    case "boolean":
      return { kind: "switch" };
    case "array":
      return listKind(schema, place);
    case "object":
      return groupKind(schema, place);
    default:
      return { kind: "json" };
  }
}

/** What may be chosen, if a schema lists its values; `null` if it doesn't. */
function choicesOf(schema: JsonObject): Choice[] | null {
  const { enum: values, const: only, oneOf, anyOf } = schema;
  if (Array.isArray(values)) return values.map((value) => choiceOf(value, {}));
  if (only !== undefined) return [choiceOf(only, schema)];
  for (const ways of [oneOf, anyOf]) {
    if (!Array.isArray(ways)) continue;
    const choices = ways.flatMap((way) => {
      const value = isObject(way) ? fieldOf(way, "const") : undefined;
      return value === undefined ? [] : [choiceOf(value, way as JsonObject)];
    });
    return choices.length === ways.length ? choices : null;
  }
  return null;
}

function choiceOf(value: Json, { title, description }: JsonObject): Choice {
  return {
    value,
    label: typeof title === "string" ? title : textOf(value),
    description: typeof description === "string" ? description : null,
  };
}

const MOMENTS = new Map([
  ["date", "date"],
  ["time", "time"],
  ["date-time", "datetime-local"],
] as const);
const TYPES = new Map([
  ["password", "password"],
  ["email", "email"],
  ["uri", "url"],
] as const);

/** More characters than fit into one line. */
const LONG_TEXT = 200;

function textKind(name: string, { format, maxLength }: JsonObject): FieldKind {
  const moment = MOMENTS.get(format as "date");
  if (moment !== undefined) return { kind: "moment", type: moment };
  const type = TYPES.get(format as "uri") ?? "text";
  const most = Number(maxLength ?? 0);
  const isLong =
    format === "multiline" || format === "markdown" || name === "prompt" || most > LONG_TEXT;
  return { kind: "text", isLong: isLong && type === "text", type };
}

function sliderOf({ type, minimum: min, maximum: max, multipleOf }: JsonObject) {
  // Bounds beyond JavaScript's numbers can't be those of a slider.
  if (typeof min !== "number" || typeof max !== "number" || min >= max) return null;
  const fine = type === "integer" ? 1 : stepOf(max - min);
  return { min, max, step: typeof multipleOf === "number" ? multipleOf : fine };
}

/** A hundredth of the way or less, as a power of ten. */
function stepOf(range: number): number {
  return 10 ** Math.floor(Math.log10(range / 100) + 1e-9);
}

/** Types whose values are typed in one line. */
const SIMPLE: ReadonlySet<unknown> = new Set(["string", "number", "integer"]);

function listKind(schema: JsonObject, place: Place): FieldKind {
  const { schema: items } = unwrap(fieldOf(schema, "items") ?? {}, place.root);
  const choices = choicesOf(items);
  if (choices !== null && schema.uniqueItems === true) return { kind: "choices", choices };
  const isSimple = choices !== null || SIMPLE.has(items.type);
  if (!isSimple || schema.prefixItems !== undefined) return { kind: "json" };
  return { kind: "list", item: fieldFor("", items, place) };
}

function groupKind(schema: JsonObject, { root, depth, room }: Place): FieldKind {
  const count = fieldsOf(schema, root).length;
  if (depth + 1 >= DEEPEST_GROUP || count === 0 || count > room.fields) return { kind: "json" };
  room.fields -= count;
  return { kind: "group", fields: fieldsIn(schema, { root, depth: depth + 1, room }) };
}

function factsOf(schema: JsonObject): string[] {
  const fact = (name: string, words: (limit: string) => string) => {
    const limit = fieldOf(schema, name);
    return limit !== undefined && kindOf(limit) === "number" ? [words(JSON.stringify(limit))] : [];
  };
  const { minimum, maximum } = schema;
  const isBetween = minimum !== undefined && maximum !== undefined;
  return [
    ...(isBetween ? [`${JSON.stringify(minimum)} to ${JSON.stringify(maximum)}`] : []),
    ...(isBetween ? [] : fact("minimum", (limit) => `${limit} or more`)),
    ...(isBetween ? [] : fact("maximum", (limit) => `${limit} or less`)),
    ...fact("exclusiveMinimum", (limit) => `more than ${limit}`),
    ...fact("exclusiveMaximum", (limit) => `less than ${limit}`),
    ...fact("multipleOf", (limit) => (limit === "1" ? "whole numbers" : `in steps of ${limit}`)),
    ...fact("maxLength", (limit) => `${limit} characters at most`),
    ...fact("maxItems", (limit) => `${limit} at most`),
  ];
}
