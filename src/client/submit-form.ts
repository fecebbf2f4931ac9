import type { z } from "zod";
import type { JsonObject } from "../protocol/codec.ts";
import type { submitJobBody } from "../protocol/resources.ts";
import { DialoutError } from "./errors.ts";
import type { UploadedFile } from "./file-upload.ts";
import { encodeJson } from "./json-body.ts";
import type { SendOptions } from "./sending.ts";

type SubmitBody = z.input<typeof submitJobBody>;

/** Options of a submit, with the names that the HTTP API uses. */
export type SubmitSettings = Omit<
  SubmitBody,
  "input" | "files" | "idempotency_key" | "cancel_on_disconnect"
>;

type SubmitFile = Blob | UploadedFile;

/** Files by form field. A space has separate switches for the fields `audio` and `video`. */
export type SubmitFiles = Record<string, SubmitFile | readonly SubmitFile[]>;

/** A file and the field that it is for. */
export interface FileOfField {
  field: string;
  file: SubmitFile;
}

export interface SubmitOptions extends SubmitSettings, SendOptions {
  files?: SubmitFiles;
  /** Two submits with the same key create one job. */
  idempotencyKey?: string;
}

/** The files in their order. */
export function listFiles(files: SubmitFiles): FileOfField[] {
  return Object.entries(files).flatMap(([field, given]) =>
    [given].flat().map((file) => {
      if (file instanceof Blob || isUploaded(file)) return { field, file };
      const message = `\`files.${field}\` must be a File or Blob, or what \`upload()\` returned: make one of bytes or text with new Blob([…]).`;
      throw new DialoutError("invalid_request", message);
    }),
  );
}

/**
 * Whether the files are better uploaded one by one before the submit: if they are large, a break would have all of them
 * sent again.
 */
export function areLarge(files: readonly FileOfField[]): boolean {
  const bytes = files.reduce((sum, { file }) => sum + (file instanceof Blob ? file.size : 0), 0);
  return bytes > LARGE_BYTES;
}

const LARGE_BYTES = 8_388_608;

/** Builds a form. It can only hold text and files, so settings that are objects are refused. */
export function formOf(
  input: JsonObject,
  files: readonly FileOfField[],
  settings: SubmitSettings,
): FormData {
  const form = new FormData();
  form.append("input", encodeJson(input));
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) form.append(name, value.join());
    else if (typeof value !== "object") form.append(name, String(value));
    else {
      const message = `With files, \`${name}\` can only be text: give it as an address.`;
      throw new DialoutError("invalid_request", message);
    }
  }
  for (const { field, file } of files) {
    if (file instanceof Blob) form.append(field, file, nameOf(file) || field);
    else form.append(field, `upload:${file.upload}`);
  }
  return form;
}

export function isUploaded(file: unknown): file is UploadedFile {
  return typeof file === "object" && file !== null && "upload" in file;
}

function nameOf(file: Blob): string {
  return "name" in file ? String(file.name) : "";
}
