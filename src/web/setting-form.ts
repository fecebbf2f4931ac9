import type { z } from "zod";
import { PLAIN_MESSAGES } from "../protocol/error-messages.ts";
import { DEFAULT_SETTINGS, spaceSettings } from "../protocol/resources.ts";
import { EXPLAINED, SETTING_GROUPS, type SettingText } from "./setting-texts.ts";
import { formatSeconds } from "./wording.ts";

export type SettingValue = string | number | boolean | null;
export type Settings = Record<string, SettingValue>;

/** What the fields hold: numbers are text until they are sent. */
export type Draft = Record<string, string | boolean>;

/** What is wrong, by the name of the setting. */
export type Problems = Record<string, string>;

/** How a setting is written into the form; the schema decides. */
export type FieldKind =
  | { kind: "text"; isLong: boolean }
  | { kind: "switch" }
  | { kind: "choice"; options: string[] }
  | { kind: "number"; min: number; max: number; isWhole: boolean };

export interface SettingField {
  name: string;
  text: SettingText;
  /** An empty field stands for `null`. */
  isNullable: boolean;
  input: FieldKind;
}

/** A text longer than this gets several lines. */
const ONE_LINE = 200;

const SCHEMAS: Record<string, z.ZodType> = spaceSettings.shape;
const DEFAULTS: Settings = DEFAULT_SETTINGS;

/** Every setting there is, in groups. Those that nobody has explained yet come last. */
export function fieldGroups(
  explained = SETTING_GROUPS,
): { title: string; fields: SettingField[] }[] {
  const groups = explained.map(({ title, settings }) => ({
    title,
    fields: Object.keys(settings)
      .filter((name) => name in SCHEMAS)
      .map(fieldOf),
  }));
  const others = Object.keys(SCHEMAS).filter(
    (name) => !explained.some(({ settings }) => name in settings),
  );
  return [...groups, { title: "Other settings", fields: others.map(fieldOf) }].filter(
    ({ fields }) => fields.length > 0,
  );
}

function schemaOf(name: string): z.ZodType {
  const schema = SCHEMAS[name];
  if (schema === undefined) throw new Error(`there is no setting ${name}`);
  return schema;
}

export function fieldOf(name: string): SettingField {
  const { bare, isNullable } = inside(schemaOf(name));
  const text = EXPLAINED.get(name) ?? { label: name, text: "" };
  return { name, text, isNullable, input: inputFor(bare) };
}

/** What a field is called, also one that is no setting, such as the space's name. */
export function labelOf(name: string): string {
  return EXPLAINED.get(name)?.label ?? name.charAt(0).toUpperCase() + name.slice(1);
}

/** The parts of a schema's definition that decide about its field. */
interface Definition {
  type: string;
  innerType?: z.ZodType;
  entries?: Record<string, string>;
}

function inside(schema: z.ZodType): { bare: z.ZodType; isNullable: boolean } {
  const { type, innerType } = schema.def as Definition;
  if (innerType === undefined) return { bare: schema, isNullable: false };
  const { bare, isNullable } = inside(innerType);
  return { bare, isNullable: isNullable || type === "nullable" };
}

function inputFor(schema: z.ZodType): FieldKind {
  const definition = schema.def as Definition;
  switch (definition.type) {
    case "boolean":
      return { kind: "switch" };
    case "enum":
      return { kind: "choice", options: Object.values(definition.entries ?? {}) };
    case "number": {
      const { minValue, maxValue, format } = schema as z.ZodNumber;
      const [min, max] = [minValue ?? Number.NEGATIVE_INFINITY, maxValue ?? Number.MAX_VALUE];
      return { kind: "number", min, max, isWhole: format === "safeint" };
    }
    default:
      return { kind: "text", isLong: ((schema as z.ZodString).maxLength ?? 0) > ONE_LINE };
  }
}

/** The settings among the fields of a space. */
export function settingsOf(space: Record<string, unknown>): Settings {
  const names = Object.keys(SCHEMAS).filter((name) => name in space);
  return Object.fromEntries(names.map((name) => [name, space[name] as SettingValue]));
}

export function draftOf(settings: Settings): Draft {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [name, written(value)]),
  );
}

function written(value: SettingValue | undefined): string | boolean {
  if (typeof value === "boolean") return value;
  return value === null || value === undefined ? "" : String(value);
}

const NUMBER = /^-?\d+(\.\d+)?$/;

/** What a field stands for. What is not a number stays text, so that the schema refuses it. */
export function valueIn(name: string, held: string | boolean): SettingValue | undefined {
  const { input, isNullable } = fieldOf(name);
  if (input.kind !== "number" || typeof held === "boolean") {
    return isNullable && held === "" ? null : held;
  }
  const text = held.trim();
  if (text === "") return isNullable ? null : undefined;
  return NUMBER.test(text) ? Number(text) : text;
}

/** Why a field can't be sent as it is, as a sentence; `null` if it can. */
export function problemOf(name: string, held: string | boolean): string | null {
  return refusalBy(schemaOf(name), valueIn(name, held));
}

/** Why a schema refuses a value, as a sentence; `null` if it takes it. */
export function refusalBy(schema: z.ZodType, value: unknown): string | null {
  const issue = schema.safeParse(value, PLAIN_MESSAGES).error?.issues[0];
  return issue === undefined ? null : sentence(issue.message);
}

/** The edge's messages go on after a field's name: "must be a number". Beside the field they begin a sentence. */
export function sentence(message: string): string {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export function problemsOf(draft: Draft): Problems {
  const found = Object.entries(draft).map(([name, held]) => [name, problemOf(name, held)] as const);
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** The settings that are no longer what they were when the form was filled. */
export function changesOf(base: Settings, draft: Draft): Settings {
  const changed: Settings = {};
  for (const [name, held] of Object.entries(draft)) {
    const value = valueIn(name, held);
    if (value !== undefined && value !== base[name]) changed[name] = value;
  }
  return changed;
}

export interface Rebased {
  draft: Draft;
  /** The settings that somebody else has changed. */
  changed: string[];
  /** Those of them that this form wants to be something else. */
  conflicts: string[];
}

/** The form after somebody else has changed the space: what was not edited here follows, what was stays. */
export function rebase(base: Settings, draft: Draft, fresh: Settings): Rebased {
  const changed = Object.keys(fresh).filter((name) => fresh[name] !== base[name]);
  const edited = changesOf(base, draft);
  const next = { ...draft };
  for (const name of changed) {
    if (!(name in edited)) next[name] = written(fresh[name]);
  }
  const conflicts = changed.filter((name) => name in edited && edited[name] !== fresh[name]);
  return { draft: next, changed, conflicts };
}

/** The unit, the bounds and the default, for the line under a field. */
export function factsOf({ name, text, input }: SettingField): string[] {
  const facts: string[] = [];
  if (input.kind === "number") facts.push(boundsOf(name, text, input));
  if (text.ifEmpty !== undefined) facts.push(`empty: ${text.ifEmpty}`);
  const standard = shown(name, DEFAULTS[name]);
  if (standard !== "" && standard !== text.ifEmpty) facts.push(`default: ${standard}`);
  if (standard === text.ifEmpty) facts.push("default: empty");
  return facts;
}

function boundsOf(
  name: string,
  text: SettingText,
  { min, max }: Extract<FieldKind, { kind: "number" }>,
): string {
  const unit = text.unit ?? (name.endsWith("_s") ? "seconds" : "");
  const [least, most] = [min.toLocaleString("en"), max.toLocaleString("en")];
  const hasLeast = min > Number.MIN_SAFE_INTEGER && min !== 0;
  const bounds = hasLeast ? `${least} to ${most}` : `up to ${most}`;
  return unit === "" ? bounds : `${unit}, ${bounds}`;
}

/** A value as people read it, such as the one that somebody else has given a setting. */
export function shown(name: string, value: SettingValue | undefined): string {
  const { text, input } = fieldOf(name);
  if (typeof value === "boolean") return value ? "on" : "off";
  if (value === null) return text.ifEmpty ?? "none";
  if (typeof value === "number") return inWords(name, value);
  return input.kind === "text" && value !== undefined && value.length > 60
    ? `${value.slice(0, 60)}…`
    : (value ?? "");
}

function inWords(name: string, value: number): string {
  const plain = value.toLocaleString("en");
  if (!name.endsWith("_s")) return plain;
  return value < 60 ? `${plain} s` : `${plain} s (${formatSeconds(value)})`;
}

/** Seconds of a field in hours and minutes, once that is easier to read; otherwise nothing. */
export function longTime(name: string, held: string | boolean): string {
  const value = valueIn(name, held);
  const isLong = name.endsWith("_s") && typeof value === "number" && value >= 60;
  return isLong && problemOf(name, held) === null ? formatSeconds(value) : "";
}
