import { z } from "zod";
import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import { json } from "../../../src/protocol/values.ts";

const options = z.looseObject({
  default: json.optional(),
  min: z.number().optional(),
  max: z.number().optional(),
  step: z.number().optional(),
  multiline: z.boolean().optional(),
  tooltip: z.string().optional(),
  /** Of choices, in newer versions. */
  options: z.array(json).optional(),
  image_upload: z.boolean().optional(),
  audio_upload: z.boolean().optional(),
  video_upload: z.boolean().optional(),
  file_upload: z.boolean().optional(),
});

/** An input of a node: its type, or its choices in older versions, and what else is known of it. */
const inputInfo = z
  .array(json)
  .min(1)
  .transform(([type, rest]) => {
    const read = options.safeParse(rest ?? {});
    const known = read.success ? read.data : {};
    const choices = Array.isArray(type) ? type : known.options;
    return { ...known, type: Array.isArray(type) ? "COMBO" : String(type), choices };
  });
export type InputInfo = z.infer<typeof inputInfo>;

/** What `GET /object_info/<class>` says about a class of nodes. */
export const nodeInfo = z.looseObject({
  input: z
    .looseObject({
      required: z.record(z.string(), inputInfo).nullish(),
      optional: z.record(z.string(), inputInfo).nullish(),
    })
    .nullish(),
  display_name: z.string().nullish(),
  output_node: z.boolean().nullish(),
});
export type NodeInfo = z.infer<typeof nodeInfo>;

export function inputOf({ input }: NodeInfo, name: string): InputInfo | null {
  return input?.required?.[name] ?? input?.optional?.[name] ?? null;
}

/** The kind of file that a node loads by the name that this input has; `null` if the input is no file. */
export function fileFormatOf(info: InputInfo): "image" | "audio" | "video" | "file" | null {
  if (info.image_upload) return "image";
  if (info.audio_upload) return "audio";
  if (info.video_upload) return "video";
  return info.file_upload ? "file" : null;
}

/** Seeds of samplers: a job that gives none gets one by chance, as with a click on ComfyUI's page. */
export function isSeed(name: string, info: InputInfo | null): boolean {
  return info?.type === "INT" && /(^|_)seed$/.test(name) && (info.max ?? 0) >= 2 ** 31;
}

/** Most choices that are listed: a schema has room for 65,536 bytes, and some folders have thousands of files. */
const MOST_CHOICES = 300;

/**
 * The JSON Schema of an input.
 *
 * @param value what the workflow has there: it holds for jobs that don't set the input
 */
export function schemaOf(name: string, info: InputInfo | null, value: Json): JsonObject {
  const hint = isSeed(name, info) ? "One is drawn if this is left empty." : info?.tooltip;
  const description: JsonObject = hint === undefined ? {} : { description: hint.slice(0, 500) };
  const format = info === null ? null : fileFormatOf(info);
  if (format !== null) return { type: "string", format, ...description };
  const preset: JsonObject = isSeed(name, info) ? {} : { default: value };
  return { ...typeOf(info, value), ...description, ...(value === null ? {} : preset) };
}

function typeOf(info: InputInfo | null, value: Json): JsonObject {
  switch (info?.type) {
    case "INT":
      return { type: "integer", ...boundsOf(info), ...stepOf(info, value) };
    case "FLOAT":
      return { type: "number", ...boundsOf(info) };
    case "BOOLEAN":
      return { type: "boolean" };
    case "STRING":
      return { type: "string", ...(info.multiline ? { format: "multiline" } : {}) };
    case "COMBO":
      return choicesOf(info, value);
    default:
      return typeByValue(value);
  }
}

/** Bounds of 64 bits, which seeds have, are beyond what a form could show, and beyond JavaScript's numbers. */
function boundsOf({ min, max }: InputInfo): JsonObject {
  const isKept = (bound: number | undefined): bound is number =>
    bound !== undefined && Math.abs(bound) <= Number.MAX_SAFE_INTEGER;
  return {
    ...(isKept(min) ? { minimum: min } : {}),
    ...(isKept(max) ? { maximum: max } : {}),
  };
}

/** Sizes of images come in steps of 8 or 16. A step that the workflow's own value doesn't keep is only advice. */
function stepOf({ step = 1, min = 0 }: InputInfo, value: Json): JsonObject {
  const isKept = typeof value === "number" && value % step === 0 && min % step === 0;
  return Number.isInteger(step) && step > 1 && isKept ? { multipleOf: step } : {};
}

function choicesOf({ choices = [] }: InputInfo, value: Json): JsonObject {
  // ComfyUI compares exactly, so a value that it doesn't list would be refused.
  const isListed = choices.length > 0 && choices.length <= MOST_CHOICES && choices.includes(value);
  return isListed ? { enum: choices } : typeByValue(value);
}

function typeByValue(value: Json): JsonObject {
  if (typeof value === "boolean") return { type: "boolean" };
  if (typeof value === "string") return { type: "string" };
  return typeof value === "number" ? { type: "number" } : {};
}
