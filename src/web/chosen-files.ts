import type { SubmitFiles } from "../client/submit-form.ts";

/** A file that somebody chose, and the field that it is for. */
export interface FileAttachment {
  field: string;
  file: File;
}

/** What is submitted for the files that somebody chose, by their fields; `undefined` without any. */
export function filesToSubmit(attachments: readonly FileAttachment[]): SubmitFiles | undefined {
  if (attachments.length === 0) return undefined;
  const byField = Map.groupBy(attachments, ({ field }) => field);
  return Object.fromEntries(
    [...byField].map(([field, chosen]) => [field, chosen.map(({ file }) => file)]),
  );
}
