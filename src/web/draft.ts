import { byteLength } from "../protocol/codec.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { SpaceSettings } from "../protocol/resources.ts";
import { formatBytes } from "./wording.ts";

/** The form's file fields, in display order. */
export const FILE_FIELDS = ["file", "audio", "video"] as const;
export type FileField = (typeof FILE_FIELDS)[number];

export interface DraftFile {
  field: string;
  name: string;
  size: number;
}

/** The form's current content. */
export interface Draft {
  prompt: string;
  files: DraftFile[];
}

type InputSwitches = Pick<
  SpaceSettings,
  "enable_prompt" | "enable_file_upload" | "enable_audio" | "enable_video"
>;

export function fileFieldsOf(space: InputSwitches): FileField[] {
  const enabled = {
    file: space.enable_file_upload,
    audio: space.enable_audio,
    video: space.enable_video,
  };
  return FILE_FIELDS.filter((field) => enabled[field]);
}

export interface DraftProblem {
  code: string;
  message: string;
}

/** Finds problems for which the edge would certainly refuse the draft, before it is sent. */
export function checkDraft(draft: Draft, space: InputSwitches): DraftProblem | null {
  const asksFiles = fileFieldsOf(space).length > 0;
  if (draft.prompt.trim() === "" && draft.files.length === 0) {
    if (space.enable_prompt && asksFiles) return empty("Write a prompt or choose a file first.");
    if (space.enable_prompt) return empty("Write a prompt first.");
    if (asksFiles) return empty("Choose a file first.");
  }
  if (byteLength(JSON.stringify({ prompt: draft.prompt })) > LIMITS.inputBytes) {
    const message = `The prompt is too long: ${formatBytes(LIMITS.inputBytes)} at most.`;
    return { code: "payload_too_large", message };
  }
  return checkFiles(draft.files);
}

export function checkFiles(files: DraftFile[]): DraftProblem | null {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (total <= LIMITS.uploadBytes) return null;
  const what = files.length === 1 ? `“${files[0]?.name}” is` : "The files together are";
  const limit = `${formatBytes(LIMITS.uploadBytes)} can be sent at most`;
  return { code: "payload_too_large", message: `${what} ${formatBytes(total)}; ${limit}.` };
}

/** The job's label in the list: its prompt, or the names of its files. */
export function labelOfDraft(draft: Draft): string {
  const prompt = draft.prompt.trim();
  if (prompt === "") return draft.files.map((file) => file.name).join(", ");
  return prompt.length > 300 ? `${prompt.slice(0, 299)}…` : prompt;
}

function empty(message: string): DraftProblem {
  return { code: "invalid_request", message };
}
