import type { OutputFile } from "../protocol/output-files.ts";

/** How much of a text is shown, bytes; the rest is in the file. */
export const TEXT_BYTES = 65_536;

const IMAGES = new Set(["png", "apng", "jpeg", "gif", "webp", "avif", "bmp", "x-icon"]);
/** Those that Chromium, Firefox and Safari all play, or at least two of them. */
const AUDIO = new Set(["wav", "mpeg", "mp4", "aac", "ogg", "opus", "webm", "flac", "x-m4a"]);
const VIDEO = new Set(["mp4", "webm", "ogg", "quicktime", "x-m4v"]);

/** What a page can do with a file: show it, play it, or only offer it for download. */
export function fileKind({
  content_type,
}: Pick<OutputFile, "content_type">): "image" | "audio" | "video" | "text" | "other" {
  const [essence = ""] = content_type.toLowerCase().split(";", 1);
  const [type, subtype = ""] = essence.trim().split("/");
  if (type === "image" && IMAGES.has(subtype)) return "image";
  if (type === "audio" && AUDIO.has(subtype.replace(/^(x-|vnd\.)wave?$/, "wav"))) return "audio";
  if (type === "video" && VIDEO.has(subtype)) return "video";
  const isData = type === "application" && /(^|\+)(json|x-ndjson|yaml|x-yaml|toml)$/.test(subtype);
  return type === "text" || isData ? "text" : "other";
}

/** @param size of the whole file, bytes */
export function shownText(text: string, size: number): string {
  if (size <= TEXT_BYTES) return text;
  // The last character may be cut in two.
  return `${text.replace(/\ufffd$/, "")}\n…`;
}
