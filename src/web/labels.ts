import type { Json, JsonObject } from "../protocol/codec.ts";
import { isObject } from "../schema/json-kind.ts";

/** What a property is called: by its title, or `negative_prompt` and `negativePrompt` as Negative prompt. */
export function labelOf(name: string, { title }: JsonObject): string {
  if (typeof title === "string" && title !== "") return title;
  const words = name
    .replaceAll(/[_-]+/g, " ")
    .replaceAll(/([a-z])([A-Z])/g, "$1 $2")
    .trim();
  return words === "" ? name : words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}

/** A value as people type it. */
export function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The first text of an input, or the names of its files: how the job is called in a list. */
export function labelOfInput(input: JsonObject, files: readonly { name: string }[]): string {
  const { prompt } = input;
  const texts = Object.values(input).filter((value) => typeof value === "string");
  const [text] = [prompt, ...texts].filter((value) => typeof value === "string");
  const label = text ?? (files.map(({ name }) => name).join(", ") || summaryOf(input));
  return label.length > 300 ? `${label.slice(0, 299)}…` : label;
}

/** `width 640, height 480` */
export function summaryOf(value: Json): string {
  if (!isObject(value)) return textOf(value);
  return Object.entries(value)
    .map(([name, part]) => (typeof part === "string" ? part : `${name} ${textOf(part)}`))
    .join(", ");
}
