import type { Json } from "../protocol/codec.ts";
import { isExactNumber } from "../protocol/exact-json.ts";
import { formatBytes } from "./wording.ts";

/** A result, split into the parts that the page displays. */
export interface ResultView {
  text: string | null;
  /** `data:` addresses of raster images; only these are used as the source of an `img`. */
  images: string[];
  /** An `https:` address, if the text of the result is nothing else. */
  link: string | null;
  /** Everything else, pretty-printed. */
  rest: string | null;
}

const IMAGE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=\s]+$/;
const MAX_IMAGES = 16;

export function viewResult(result: Json): ResultView {
  const empty: ResultView = { text: null, images: [], link: null, rest: null };
  if (result === null) return empty;
  if (typeof result === "string") return viewText(result);
  if (typeof result !== "object" || isExactNumber(result)) {
    return { ...empty, text: JSON.stringify(result) };
  }
  const images = imagesIn(result);
  if (Array.isArray(result)) return { ...empty, images, rest: restOf(result, images) };
  const { text, ...others } = result;
  if (typeof text !== "string") return { ...empty, images, rest: restOf(result, images) };
  const rest = Object.keys(others).length === 0 ? null : restOf(others, images);
  return { ...viewText(text), images: [...viewText(text).images, ...images], rest };
}

/** The complete result, as the Copy button puts it on the clipboard. */
export function copyText(result: Json): string {
  return typeof result === "string" ? result : JSON.stringify(result, null, 2);
}

function viewText(text: string): ResultView {
  const view: ResultView = { text: null, images: [], link: null, rest: null };
  if (isImage(text)) return { ...view, images: [text] };
  if (/^https:\/\/\S+$/.test(text)) return { ...view, link: text };
  return { ...view, text };
}

/** Finds images among the result's values and their lists; deeper ones are shown as text. */
function imagesIn(value: Json[] | { [key: string]: Json }): string[] {
  const entries = Array.isArray(value) ? value : Object.entries(value).map(([, item]) => item);
  return entries
    .flatMap((item) => (Array.isArray(item) ? item : [item]))
    .filter(isImage)
    .slice(0, MAX_IMAGES);
}

function isImage(value: Json): value is string {
  return typeof value === "string" && IMAGE.test(value);
}

function restOf(value: Json, images: string[]): string {
  const shown = new Set(images);
  const brief = (_key: string, item: unknown) =>
    typeof item === "string" && shown.has(item)
      ? `${item.slice(0, item.indexOf(",") + 1)}… (${formatBytes(item.length)}, shown above)`
      : item;
  return JSON.stringify(value, brief, 2);
}
