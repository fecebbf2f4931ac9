import type { z } from "zod";
import type { JsonObject } from "../protocol/codec.ts";
import type { submitJobBody } from "../protocol/resources.ts";
import { DialoutError } from "./errors.ts";

type SubmitBody = z.input<typeof submitJobBody>;

/** Options of a submit, with the names that the HTTP API uses. */
export type SubmitSettings = Omit<SubmitBody, "input" | "idempotency_key" | "cancel_on_disconnect">;

/** Files by form field. A space has separate switches for the fields `audio` and `video`. */
export type SubmitFiles = Record<string, Blob | readonly Blob[]>;

export interface SubmitOptions extends SubmitSettings {
  files?: SubmitFiles;
  /** Two submits with the same key create one job. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** Builds a form. It can only hold text and files, so settings that are objects are refused. */
export function formOf(input: JsonObject, files: SubmitFiles, settings: SubmitSettings): FormData {
  const form = new FormData();
  form.append("input", JSON.stringify(input));
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) form.append(name, value.join());
    else if (typeof value !== "object") form.append(name, String(value));
    else {
      const message = `With files, \`${name}\` can only be text: give it as an address.`;
      throw new DialoutError("invalid_request", message);
    }
  }
  for (const [field, given] of Object.entries(files)) {
    for (const file of given instanceof Blob ? [given] : given) {
      form.append(field, file, "name" in file ? String(file.name) : field);
    }
  }
  return form;
}
