import { byteLength, type JsonObject } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { InputError } from "../schema/check-run.ts";
import { InputSchema } from "../schema/input-schema.ts";
import { checkFiles } from "./draft.ts";
import type { ChosenFile } from "./file-uploads.ts";
import { draftOf, type HeldGroup, inputOf, isBrokenJson, walkFields } from "./form-draft.ts";
import { type FormField, formFieldsOf } from "./form-fields.ts";
import { sentence } from "./setting-form.ts";

/** By the name of their field, which may be one that objects inherit, such as `constructor`. */
type Files = ReadonlyMap<string, readonly File[]>;

/** A form that a schema made, and what it holds. */
export interface SchemaForm {
  version: number;
  fields: readonly FormField[];
  schema: InputSchema;
  draft: HeldGroup;
  files: Files;
  /** The fields of the input that somebody filled in: what is wrong with them is shown, and they outlive the schema. */
  touched: ReadonlySet<string>;
}

/** What the edge describes as the schema of a space's input. */
export interface KnownSchema {
  version: number;
  input: JsonObject;
}

/** @param typed what somebody typed before there was this form */
export function newForm({ version, input }: KnownSchema, typed: JsonObject): SchemaForm {
  const fields = formFieldsOf(input);
  const schema = new InputSchema(input);
  const touched = new Set(Object.keys(typed));
  return { version, fields, schema, draft: draftOf(fields, typed), files: new Map(), touched };
}

/** The form of a new schema. What somebody typed or chose stays, if there is still a field for it. */
export function withSchema(form: SchemaForm, next: KnownSchema): SchemaForm {
  const { files } = form;
  return { ...newForm(next, typedIn(form)), files, touched: form.touched };
}

/** The part of the input that somebody filled in. */
export function typedIn({ fields, draft, touched }: SchemaForm): JsonObject {
  const own = Object.entries(inputOf(fields, draft)).filter(([name]) => touched.has(name));
  return Object.fromEntries(own);
}

/** Fills in an example; other fields are as if nobody had touched them. */
export function withExample(form: SchemaForm, example: JsonObject): SchemaForm {
  return {
    ...form,
    draft: draftOf(form.fields, example),
    touched: new Set(Object.keys(example)),
  };
}

export function attachmentsOf({ fields, files }: SchemaForm): ChosenFile[] {
  return fields.flatMap(({ name, kind }) =>
    kind.kind === "file" ? (files.get(name) ?? []).map((file) => ({ field: name, file })) : [],
  );
}

/** What is wrong with a form: by the pointers of its fields, and besides them. */
export interface FormProblems {
  byField: ReadonlyMap<string, string>;
  /** Names of the fields that have one, in their order. */
  labels: string[];
  others: string[];
}

/** Everything that the edge would refuse. */
export function problemsIn(form: SchemaForm): FormProblems {
  const { fields, draft, schema } = form;
  const input = inputOf(fields, draft);
  const attachments = attachmentsOf(form);
  const given = attachments.map(({ field, file }) => {
    return { field, content_type: file.type || "application/octet-stream" };
  });
  const bytes = byteLength(JSON.stringify(input));
  const errors = schema.errorsOf(input, given, bytes);
  const broken = walkFields(fields, draft)
    .filter(({ field, held }) => isBrokenJson(field, held))
    .map(({ pointer }) => ({ path: pointer, message: "must be JSON: text in double quotes" }));
  const chosen = attachments.map(({ field, file: { name, size } }) => ({ field, name, size }));
  const found = placeErrors(form, [...broken, ...errors]);
  const tooLarge = checkFiles(chosen)?.message;
  const others = [
    ...found.others,
    ...(tooLarge === undefined ? [] : [tooLarge]),
    ...(bytes > LIMITS.inputBytes ? ["The input is too long: send large data as a file."] : []),
  ];
  return { ...found, others };
}

/** Puts errors beside their fields; those within a list or a JSON text say where. */
export function placeErrors(form: SchemaForm, errors: readonly InputError[]): FormProblems {
  const known = walkFields(form.fields, form.draft);
  const byField = new Map<string, string>();
  const others: string[] = [];
  for (const { path, message } of errors) {
    // The last that fits lies deepest.
    const place = known.findLast(
      ({ pointer }) => path === pointer || path.startsWith(`${pointer}/`),
    );
    if (place === undefined)
      others.push(sentence(`${path.replace(/^\/\w+\/?/, "")} ${message}`.trim()));
    else if (!byField.has(place.pointer)) {
      byField.set(place.pointer, sentence(withPlace(path.slice(place.pointer.length), message)));
    }
  }
  const labels = known.flatMap(({ pointer, field }) => (byField.has(pointer) ? field.label : []));
  return { byField, labels, others };
}

function withPlace(rest: string, message: string): string {
  if (rest === "") return message;
  const entry = /^\/(\d+)$/.exec(rest)?.[1];
  return entry === undefined
    ? `${rest.slice(1)} ${message}`
    : `entry ${Number(entry) + 1} ${message}`;
}
