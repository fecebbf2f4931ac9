import { z } from "zod";

/** Files that workers send as output: their names, and how the API and frames show them. */

/**
 * The name of an output file, unique in its job. Any characters but slashes and control characters; it is for people
 * and programs to tell files apart, and must never be used as a path.
 */
export const outputName = z
  .string()
  .regex(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are refused.
    /^[^/\\\u0000-\u001f]{1,200}$/,
    "must have 1 to 200 characters, without slashes and control characters",
  )
  .refine(isUsable, "must not be `.` or `..`, nor have half of a surrogate pair");

function isUsable(name: string): boolean {
  return name !== "." && name !== ".." && name.isWellFormed();
}

/** What the edge stored: the answer to an upload. */
export const uploadedFile = z.object({
  name: z.string(),
  /** As the bytes show it, which is not always what was declared. */
  content_type: z.string(),
  /** Bytes. */
  size: z.int(),
  /** Of the content, in hexadecimal digits. */
  sha256: z.string(),
});
export type UploadedFile = z.infer<typeof uploadedFile>;

/** An output file of a job. */
export const outputFile = uploadedFile.extend({
  /** A signed address of this file alone, under the edge's origin; it needs no headers, and expires after some hours. */
  url: z.string(),
});
export type OutputFile = z.infer<typeof outputFile>;

/** Where an attempt may send its files, as its `job` frame says. */
export const outputAddress = z.object({
  /** Signed; contains `{name}`, which is to be replaced by the name of the file, percent-encoded. */
  url: z.string(),
  /** How many bytes the files of the attempt may have together. */
  max_bytes: z.number(),
});

/** The address to which a file of this name is sent. */
export function uploadUrl(template: string, name: string): string {
  return template.replace("{name}", encodeURIComponent(name));
}
