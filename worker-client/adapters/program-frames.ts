import { z } from "zod";
import { describeIssues, parseJson } from "../../src/protocol/codec.ts";
import { PLAIN_MESSAGES } from "../../src/protocol/error-messages.ts";
import { json, jsonObject } from "../../src/protocol/values.ts";
import { withExactFields } from "../json-text.ts";

/** The frames that a program may write to standard output, one a line; other lines are plain text. */
const programFrame = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("progress"),
    /** Percent. */
    progress: z.number(),
    message: z.string().nullish(),
    /** Seconds. */
    estimated_remaining: z.number().nullish(),
  }),
  z.object({ type: z.literal("output"), delta: json }),
  z.object({ type: z.literal("result"), output: json, metrics: jsonObject.nullish() }),
]);
export type ProgramFrame = z.infer<typeof programFrame>;

export type ProgramLine =
  | { type: "text" }
  | { type: "frame"; frame: ProgramFrame }
  /** The line has the type of a frame but wrong fields: an error that must not be taken for output. */
  | { type: "malformed"; message: string };

/** The fields whose numbers are sent as the program wrote them. */
const EXACT = ["delta", "output", "metrics"];

const TYPES: readonly unknown[] = programFrame.options.map((option) => option.shape.type.value);

export function readProgramLine(line: string): ProgramLine {
  if (!line.trimStart().startsWith("{")) return { type: "text" };
  const parsed = parseJson(line);
  if (!parsed.ok) return { type: "text" };
  const { value } = parsed;
  const isFrame = typeof value === "object" && value !== null && "type" in value;
  if (!isFrame || !TYPES.includes(value.type)) return { type: "text" };
  const result = programFrame.safeParse(value, PLAIN_MESSAGES);
  if (result.success) return { type: "frame", frame: withExactFields(result.data, line, EXACT) };
  return { type: "malformed", message: `${value.type} (${describeIssues(result.error)})` };
}
