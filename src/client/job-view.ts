import type { Json } from "../protocol/codec.ts";
import type { OutputFile } from "../protocol/output-files.ts";
import type { Connection, LinkState } from "./connection.ts";
import type { DialoutError } from "./errors.ts";
import { isEnd, type JobEvent, type JobFile, type JobProgress } from "./job-channel.ts";

/** Most output kept for display, in characters; if there is more, the beginning is dropped. */
const MOST_OUTPUT = 1_048_576;

/** A job as a page shows it. */
export interface JobView {
  /** `null` until the first progress event arrives. */
  status: JobProgress["status"] | null;
  /** Percent, 0 to 100. */
  progress: number;
  message: string | null;
  queuePosition: number | null;
  /** Seconds. */
  estimatedRemaining: number | null;
  /** Output of the newest attempt; pieces that aren't text are shown as JSON, each on its own line. */
  output: string;
  /** The beginning of `output` is missing. */
  isOutputCut: boolean;
  /** The files that are output, of the newest attempt. */
  outputs: readonly OutputFile[];
  /** The newest preview, while the job runs. */
  preview: OutputFile | null;
  result: Json | null;
  /** Why the job failed or was canceled. */
  failure: { code: string; message: string } | null;
  link: LinkState;
  /** The connection with everything that a page may show. */
  connection: Connection;
  /** Why the job can't be followed now; if `link` is `closed`, for good. */
  error: DialoutError | null;
}

export const NO_JOB: JobView = {
  status: null,
  progress: 0,
  message: null,
  queuePosition: null,
  estimatedRemaining: null,
  output: "",
  isOutputCut: false,
  outputs: [],
  preview: null,
  result: null,
  failure: null,
  link: "connecting",
  connection: { state: "connecting" },
  error: null,
};

export function viewEvent(view: JobView, event: JobEvent): JobView {
  switch (event.type) {
    case "restart":
      return { ...view, output: "", isOutputCut: false, outputs: [], preview: null };
    case "gap":
      return { ...view, output: "", isOutputCut: true, outputs: [], preview: null };
    case "file":
      return { ...view, ...withFile(view, event) };
    case "output":
      return { ...view, ...appended(view, event.delta) };
    case "progress":
      return {
        ...view,
        status: event.status,
        progress: event.progress,
        message: event.message,
        queuePosition: event.queue_position,
        estimatedRemaining: event.estimated_remaining,
        ...(isEnd(event) ? { outputs: event.outputs ?? [], preview: null } : {}),
        result: event.result ?? null,
        failure: event.error ?? null,
      };
  }
}

/** A file takes the place of one with its name; a preview, that of the preview before. */
export function withFile<V extends Pick<JobView, "outputs" | "preview">>(
  view: V,
  { file, preview }: Pick<JobFile, "file" | "preview">,
): Pick<JobView, "outputs" | "preview"> {
  if (preview) return { outputs: view.outputs, preview: file };
  const others = view.outputs.filter(({ name }) => name !== file.name);
  return { outputs: [...others, file], preview: view.preview };
}

/** As JSON, also if the client's `parseJson` made a bigint, or an object of lossless-json, of a long number. */
function jsonOf(value: Json): string {
  return JSON.stringify(value, (_name, field: unknown) => {
    const digits = digitsOf(field);
    if (digits === null) return field;
    return "rawJSON" in JSON ? JSON.rawJSON(digits) : digits;
  });
}

function digitsOf(value: unknown): string | null {
  if (typeof value === "bigint") return String(value);
  const isLossless = typeof value === "object" && value !== null && "isLosslessNumber" in value;
  return isLossless ? String(value) : null;
}

function appended({ output, isOutputCut }: JobView, delta: Json) {
  const isText = typeof delta === "string";
  const start = isText || output === "" || output.endsWith("\n") ? "" : "\n";
  const whole = output + start + (isText ? delta : `${jsonOf(delta)}\n`);
  const isCut = whole.length > MOST_OUTPUT;
  return { output: isCut ? whole.slice(-MOST_OUTPUT) : whole, isOutputCut: isOutputCut || isCut };
}
