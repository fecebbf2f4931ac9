import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import { numberOf } from "../schema/form-values.ts";
import { fieldOf, isObject, valueKey } from "../schema/json-kind.ts";
import type { Choice, FormField } from "./form-fields.ts";
import { textOf } from "./labels.ts";

/** What a field holds: a text, a switch, the entries of a list, or the fields of a group. */
export type Held = string | boolean | readonly Held[] | HeldGroup;
export interface HeldGroup {
  readonly [name: string]: Held;
}

/** What the fields hold that show this value: what it lacks is what the schema has for it, or nothing. */
export function draftOf(fields: readonly FormField[], value: JsonObject = {}): HeldGroup {
  // An object made field by field would lose one that is named `__proto__`.
  return Object.fromEntries(
    fields
      .filter(({ kind }) => kind.kind !== "file")
      .map((field) => {
        const own = fieldOf(value, field.name);
        return [field.name, heldOf(field, own === undefined ? field.initial : own)];
      }),
  );
}

/** What a field holds that shows this value; `undefined`: nothing. */
export function heldOf({ kind }: FormField, value: Json | undefined): Held {
  switch (kind.kind) {
    case "switch":
      return value === true;
    case "choice":
      return value === undefined ? "" : indexOf(kind.choices, value);
    case "choices":
      return Array.isArray(value) ? value.map((one) => indexOf(kind.choices, one)) : [];
    case "list":
      return Array.isArray(value) ? value.map((entry) => heldOf(kind.item, entry)) : [];
    case "group":
      return draftOf(kind.fields, isObject(value) ? value : {});
    case "moment":
      return typeof value === "string" ? localMoment(value, kind.type) : "";
    case "json":
      return value === undefined ? "" : JSON.stringify(value, null, 2);
    default:
      return value === undefined || value === null ? "" : textOf(value);
  }
}

/** Choices are held by their place, because their values may be anything. */
function indexOf(choices: readonly Choice[], value: Json): string {
  const key = valueKey(value);
  const index = choices.findIndex((choice) => valueKey(choice.value) === key);
  return index < 0 ? "" : String(index);
}

/** The input that the fields stand for. Fields that are empty are left out: the worker fills in what it wants. */
export function inputOf(fields: readonly FormField[], draft: HeldGroup): JsonObject {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const held = Object.hasOwn(draft, field.name) ? draft[field.name] : undefined;
      const value = held === undefined ? undefined : readHeld(field, held);
      return value === undefined ? [] : [[field.name, value]];
    }),
  );
}

function readHeld({ kind, isRequired, initial }: FormField, held: Held): Json | undefined {
  // What the schema fills in and somebody emptied would be filled in again if it were left out.
  const isEmptied = Array.isArray(initial) || (kind.kind === "text" && initial !== undefined);
  if (kind.kind === "switch") return held === true;
  if (kind.kind === "group") {
    const value = inputOf(kind.fields, held as HeldGroup);
    return isRequired || Object.keys(value).length > 0 ? value : undefined;
  }
  if (Array.isArray(held)) {
    const values = (held as readonly Held[]).flatMap((entry) => {
      const value = kind.kind === "list" ? readHeld(kind.item, entry) : chosen(kind, String(entry));
      return value === undefined ? [] : [value];
    });
    return values.length > 0 || isRequired || isEmptied ? values : undefined;
  }
  const text = String(held);
  if (text.trim() === "") return isEmptied && !isRequired ? "" : undefined;
  switch (kind.kind) {
    case "number":
      // What is no number is sent as it is, so that the check says so.
      return numberOf(text.trim()) ?? text;
    case "choice":
      return chosen(kind, text);
    case "moment":
      return kind.type === "datetime-local" ? instantOf(text) : text;
    case "json": {
      const parsed = parseJson(text, LIMITS.inputDepth - 1, parseExact);
      return parsed.ok ? parsed.value : text;
    }
    default:
      return text;
  }
}

function chosen(kind: FormField["kind"], index: string): Json | undefined {
  if (kind.kind !== "choice" && kind.kind !== "choices") return undefined;
  return index === "" ? undefined : kind.choices[Number(index)]?.value;
}

/** A date and time as a field of a form holds it: in the time zone of its user. */
function localMoment(text: string, type: "date" | "time" | "datetime-local"): string {
  const time = new Date(text);
  if (type !== "datetime-local" || Number.isNaN(time.getTime())) return text;
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

function instantOf(text: string): string {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toISOString();
}

/** Whether a text that stands for JSON is none: the check of its value could not tell. */
export function isBrokenJson({ kind }: FormField, held: Held | undefined): boolean {
  if (kind.kind !== "json" || typeof held !== "string" || held.trim() === "") return false;
  return !parseJson(held, LIMITS.inputDepth - 1, parseExact).ok;
}

/** The fields in their order, those of groups too, with the pointer by which errors name them. */
export function walkFields(
  fields: readonly FormField[],
  draft: HeldGroup,
  root = "/input",
): { field: FormField; pointer: string; held: Held | undefined }[] {
  return fields.flatMap((field) => {
    const isFile = field.kind.kind === "file";
    const pointer = pointerIn(isFile && root === "/input" ? "/files" : root, field.name);
    const held = Object.hasOwn(draft, field.name) ? draft[field.name] : undefined;
    const own = { field, pointer, held };
    if (field.kind.kind !== "group") return [own];
    return [own, ...walkFields(field.kind.fields, (held ?? {}) as HeldGroup, pointer)];
  });
}

export function pointerIn(root: string, name: string | number): string {
  return `${root}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
