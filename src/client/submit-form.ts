import type { z } from "zod";
import type { JsonObject } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { submitJobBody } from "../protocol/resources.ts";
import { DialoutError } from "./errors.ts";
import { encodeJson } from "./json-body.ts";
import type { SendOptions } from "./sending.ts";

type SubmitBody = z.input<typeof submitJobBody>;

/** Options of a submit, with the names that the HTTP API uses. */
export type SubmitSettings = Omit<SubmitBody, "input" | "idempotency_key" | "cancel_on_disconnect">;

/** Files by form field. A space has separate switches for the fields `audio` and `video`. */
export type SubmitFiles = Record<string, Blob | readonly Blob[]>;

export interface SubmitOptions extends SubmitSettings, SendOptions {
  files?: SubmitFiles;
  /** Two submits with the same key create one job. */
  idempotencyKey?: string;
}

/** Builds a form. It can only hold text and files, so settings that are objects are refused. */
export function formOf(input: JsonObject, files: SubmitFiles, settings: SubmitSettings): FormData {
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
  const found = Object.entries(files).flatMap(([field, given]) => {
    return (Array.isArray(given) ? given : [given]).map((file) => ({
      field,
      file: blobOf(field, file),
    }));
  });
  checkSize(found.map(({ file }) => file));
  for (const { field, file } of found) form.append(field, file, nameOf(file) || field);
  return form;
}

function blobOf(field: string, file: unknown): Blob {
  if (file instanceof Blob) return file;
  const message = `\`files.${field}\` must be a File or Blob: make one of bytes or text with new Blob([…]).`;
  throw new DialoutError("invalid_request", message);
}

function nameOf(file: Blob): string {
  return "name" in file ? String(file.name) : "";
}

/** The edge refuses it too, but closes the connection on a body that is far too large, before it is sent. */
function checkSize(files: readonly Blob[]): void {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  if (bytes <= LIMITS.uploadBytes) return;
  const message = `The files have ${bytes} bytes; ${LIMITS.uploadBytes} are allowed for one job.`;
  throw new DialoutError("payload_too_large", message);
}
