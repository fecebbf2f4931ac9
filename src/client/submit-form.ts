import type { z } from "zod";
import type { JsonObject } from "../protocol/codec.ts";
import type { submitJobBody } from "../protocol/resources.ts";
import { DialoutError } from "./errors.ts";

type SubmitBody = z.input<typeof submitJobBody>;

/** What may be asked for beside the input, as the edge names it. */
export type SubmitSettings = Omit<SubmitBody, "input" | "idempotency_key" | "cancel_on_disconnect">;

/** Files by the field they are for: `audio` and `video` have settings of their own in a space. */
export type SubmitFiles = Record<string, Blob | readonly Blob[]>;

export interface SubmitOptions extends SubmitSettings {
  files?: SubmitFiles;
  /** Two submits with one key are one job. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** A form has text and files: what is neither can't go with files. */
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
