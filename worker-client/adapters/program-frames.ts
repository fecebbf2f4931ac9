import { z } from "zod";
import { readFields, readString, whyNotJson } from "../../src/protocol/broken-json.ts";
import { describeIssues, NOT_JSON, parseJson } from "../../src/protocol/codec.ts";
import { declaredSchema } from "../../src/protocol/declared-schema.ts";
import { PLAIN_MESSAGES } from "../../src/protocol/error-messages.ts";
import { json, jsonObject } from "../../src/protocol/values.ts";
import { withExactFields } from "../json-text.ts";

const progress = {
  type: z.literal("progress"),
  /** Percent. */
  progress: z.number(),
  message: z.string().nullish(),
  /** Seconds. */
  estimated_remaining: z.number().nullish(),
};
/** A piece of output, or the name of a file that the program has written to its directory for output. */
const output = {
  type: z.literal("output"),
  delta: json.optional(),
  file: z.string().optional(),
  /** The file shows how far the job is; the result will be another one. */
  preview: z.boolean().nullish(),
};
const result = {
  type: z.literal("result"),
  metrics: jsonObject.nullish(),
};
const fail = {
  type: z.literal("fail"),
  message: z.string(),
  code: z.string().nullish(),
  /** Whether another attempt may succeed. */
  retryable: z.boolean().nullish(),
};
/** The job that a frame is about; it may be left out while the program has only one. */
const id = { id: z.string().optional() };

const hasDelta = (frame: { delta?: unknown; file?: unknown }) =>
  frame.delta !== undefined || frame.file !== undefined;
const NO_DELTA = { path: ["delta"], message: "is missing" };

/** The frames of a program that is started for each job. */
const oneJobFrame = z.discriminatedUnion("type", [
  z.object(progress),
  z.object(output).refine(hasDelta, NO_DELTA),
  z.object({ ...result, output: json }),
  z.object(fail),
]);

/** The frames of a program that runs all jobs. */
const manyJobsFrame = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready"), schema: declaredSchema.nullish() }),
  z.object({ ...progress, ...id }),
  z.object({ ...output, ...id }).refine(hasDelta, NO_DELTA),
  z.object({ ...result, output: json.optional(), ...id }),
  z.object({ ...fail, ...id }),
]);
/** A frame that a program may write to standard output, one a line; other lines are plain text. */
export type ProgramFrame = z.infer<typeof manyJobsFrame>;
export type JobFrameOfProgram = Exclude<ProgramFrame, { type: "ready" }>;

export type ProgramLine<F = ProgramFrame> =
  | { type: "text" }
  | { type: "frame"; frame: F }
  /** The line is meant as a frame but isn't one: an error that must not be taken for output. */
  | { type: "malformed"; of: string; message: string };

/** Which frames a program may write. */
interface FrameSet<F> {
  schema: z.ZodType<F>;
  types: readonly string[];
}

export const ONE_JOB: FrameSet<JobFrameOfProgram> = {
  schema: oneJobFrame,
  types: ["progress", "output", "result", "fail"],
};
export const MANY_JOBS: FrameSet<ProgramFrame> = {
  schema: manyJobsFrame,
  types: ["ready", ...ONE_JOB.types],
};

/** The fields whose numbers are sent as the program wrote them. */
const EXACT = ["delta", "output", "metrics"];

const TEXT: ProgramLine<never> = { type: "text" };

/** The line of a frame that is written over several lines which has its type, if it is the first after the `{`. */
const TYPE_LINE = /^\s*["']?type["']?\s*:\s*("\w+"|'\w+')\s*,?\s*$/;

/** A line that is cut off in its type, right before the closing quote. */
const CUT_LINE = /^\s*\{\s*["']?type["']?\s*:\s*["'](\w+)\s*$/;

/** Reads the lines of one program, in order. */
export class ProgramLineReader<F extends ProgramFrame> {
  readonly #frames: FrameSet<F>;
  #isAfterBrace = false;

  constructor(frames: FrameSet<F>) {
    this.#frames = frames;
  }

  read(line: string): ProgramLine<F> {
    const isAfterBrace = this.#isAfterBrace;
    this.#isAfterBrace = line.trim() === "{";
    const type = isAfterBrace ? readString(TYPE_LINE.exec(line)?.[1]) : null;
    if (this.#isFrameType(type)) return malformed(type, "a frame must be in one line", line);
    return line.trimStart().startsWith("{") ? this.#readObject(line) : TEXT;
  }

  /** What can be read of a line that is too long, from its beginning. */
  readTooLong(beginning: string, why: string): ProgramLine<never> {
    const type = typeWithin(beginning);
    return this.#isFrameType(type) ? malformed(type, why, beginning) : TEXT;
  }

  /**
   * Reads a line that begins with `{`. If its `type`, as far as it can be read, is that of a frame, the line is
   * meant as one: passed on as text it would be lost as the job's result, and the job would be completed without it.
   */
  #readObject(line: string): ProgramLine<F> {
    const parsed = parseJson(line);
    if (!parsed.ok) {
      const type = typeWithin(line);
      if (!this.#isFrameType(type)) return TEXT;
      const why = parsed.message === NOT_JSON ? whyNotJson(line) : parsed.message;
      return malformed(type, why, line);
    }
    const { value } = parsed;
    if (typeof value !== "object" || value === null || !("type" in value)) return TEXT;
    if (!this.#isFrameType(value.type)) return TEXT;
    const result = this.#frames.schema.safeParse(value, PLAIN_MESSAGES);
    if (!result.success) return malformed(value.type, describeIssues(result.error), line);
    return { type: "frame", frame: withExactFields(result.data, line, EXACT) };
  }

  #isFrameType(type: unknown): type is string {
    return typeof type === "string" && this.#frames.types.includes(type);
  }
}

function typeWithin(line: string): string | undefined {
  return readString(readFields(line).get("type")?.[0]) ?? CUT_LINE.exec(line)?.[1];
}

/** How much of a line is shown in a message, characters. */
const SHOWN_LENGTH = 200;

function malformed(of: string, why: string, line: string): ProgramLine<never> {
  const whole = line.trimEnd();
  const shown = whole.length > SHOWN_LENGTH ? `${whole.slice(0, SHOWN_LENGTH)}…` : whole;
  return { type: "malformed", of, message: `${of} (${why}): ${shown}` };
}

/** A line of UTF-16 that was read as UTF-8 has a NUL beside each letter of a language with Latin letters. */
export function isUtf16(line: string): boolean {
  if (!line.includes("\0")) return false;
  return line.replaceAll("\0", "").length <= (line.length * 2) / 3;
}

export const NOT_UTF8 =
  "The program's standard output is UTF-16, not UTF-8: have it write UTF-8. For Python set PYTHONUTF8=1, for PowerShell [Console]::OutputEncoding.";
