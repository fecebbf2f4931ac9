import { z } from "zod";
import { readFields, readString, whyNotJson } from "../../src/protocol/broken-json.ts";
import { describeIssues, NOT_JSON, parseJson } from "../../src/protocol/codec.ts";
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
  z
    .object({
      type: z.literal("output"),
      delta: json.optional(),
      /** The name of a file that the program has written to its directory for output. */
      file: z.string().optional(),
      preview: z.boolean().optional(),
    })
    .refine(({ delta, file }) => delta !== undefined || file !== undefined, {
      path: ["delta"],
      message: "is missing",
    }),
  z.object({ type: z.literal("result"), output: json, metrics: jsonObject.nullish() }),
]);
export type ProgramFrame = z.infer<typeof programFrame>;

export type ProgramLine =
  | { type: "text" }
  | { type: "frame"; frame: ProgramFrame }
  /** The line is meant as a frame but isn't one: an error that must not be taken for output. */
  | { type: "malformed"; message: string };

/** The fields whose numbers are sent as the program wrote them. */
const EXACT = ["delta", "output", "metrics"];

const TYPES: readonly unknown[] = programFrame.options.map((option) => option.shape.type.value);

const TEXT: ProgramLine = { type: "text" };

/** The line of a frame that is written over several lines which has its type, if it is the first after the `{`. */
const TYPE_LINE = /^\s*["']?type["']?\s*:\s*("\w+"|'\w+')\s*,?\s*$/;

/** A line that is cut off in its type, right before the closing quote. */
const CUT_LINE = /^\s*\{\s*["']?type["']?\s*:\s*["'](\w+)\s*$/;

/** Reads the lines of one program, in order. */
export class ProgramLineReader {
  #isAfterBrace = false;

  read(line: string): ProgramLine {
    const isAfterBrace = this.#isAfterBrace;
    this.#isAfterBrace = line.trim() === "{";
    const type = isAfterBrace ? readString(TYPE_LINE.exec(line)?.[1]) : null;
    if (TYPES.includes(type)) return malformed(type, "a frame must be in one line", line);
    return line.trimStart().startsWith("{") ? readObject(line) : TEXT;
  }
}

/**
 * Reads a line that begins with `{`. If its `type`, as far as it can be read, is that of a frame, the line is
 * meant as one: passed on as text it would be lost as the job's result, and the job would be completed without it.
 */
function readObject(line: string): ProgramLine {
  const parsed = parseJson(line);
  if (!parsed.ok) {
    const type = readString(readFields(line).get("type")?.[0]) ?? CUT_LINE.exec(line)?.[1];
    if (!TYPES.includes(type)) return TEXT;
    const why = parsed.message === NOT_JSON ? whyNotJson(line) : parsed.message;
    return malformed(type, why, line);
  }
  const { value } = parsed;
  const isFrame = typeof value === "object" && value !== null && "type" in value;
  if (!isFrame || !TYPES.includes(value.type)) return TEXT;
  const result = programFrame.safeParse(value, PLAIN_MESSAGES);
  if (result.success) return { type: "frame", frame: withExactFields(result.data, line, EXACT) };
  return malformed(value.type, describeIssues(result.error), line);
}

/** How much of a line is shown in a message, characters. */
const SHOWN_LENGTH = 200;

function malformed(type: unknown, why: string, line: string): ProgramLine {
  const whole = line.trimEnd();
  const shown = whole.length > SHOWN_LENGTH ? `${whole.slice(0, SHOWN_LENGTH)}…` : whole;
  return { type: "malformed", message: `${type} (${why}): ${shown}` };
}
