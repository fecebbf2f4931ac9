import type { Json } from "../../../src/protocol/codec.ts";
import { parseJson } from "../../../src/protocol/codec.ts";
import { mayLoseDigits } from "../../../src/protocol/exact-json.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import { jsonText } from "../../json-text.ts";
import { type JobFrameOfProgram, ONE_JOB, ProgramLineReader } from "../program-frames.ts";
import { reportedFailure } from "../program-reports.ts";

/** Passes on what a server streams: frames as programs of `exec` write them, or any other JSON or text as output. */
export class AnswerFrames {
  readonly #job: Job;
  readonly #reader = new ProgramLineReader(ONE_JOB);
  #result: Extract<JobFrameOfProgram, { type: "result" }> | null = null;

  constructor(job: Job) {
    this.#job = job;
  }

  /** A piece that has no name, such as a line of NDJSON or the data of an event `message`. */
  onPiece(text: string): void {
    const read = this.#reader.read(text);
    switch (read.type) {
      case "malformed":
        throw new JobFailure("worker_error", `The model's server sent a malformed ${read.message}`);
      case "frame":
        this.#onFrame(read.frame);
        return;
      case "text":
        this.#job.output(pieceOf(text));
        return;
    }
  }

  /** An event whose name is the type of a frame, with the frame's other fields as its data. */
  onNamed(type: string, data: string): void {
    const isFrame = ONE_JOB.types.includes(type) && data.trimStart().startsWith("{");
    this.onPiece(isFrame ? withType(type, data) : data);
  }

  /** The job's result; `undefined` if it is what was streamed. */
  finish(): Json | undefined {
    if (this.#result?.metrics) this.#job.metrics(this.#result.metrics);
    return this.#result?.output;
  }

  #onFrame(frame: JobFrameOfProgram): void {
    switch (frame.type) {
      case "result":
        this.#result = frame;
        return;
      case "fail":
        throw reportedFailure(frame);
      case "progress":
        this.#job.progress(
          frame.progress,
          frame.message ?? undefined,
          frame.estimated_remaining ?? undefined,
        );
        return;
      case "output":
        if (frame.delta !== undefined) this.#job.output(frame.delta);
        return;
    }
  }
}

function withType(type: string, data: string): string {
  return data.replace(/^\s*\{(\s*\})?/, (_, empty?: string) =>
    empty === undefined ? `{"type":${JSON.stringify(type)},` : `{"type":${JSON.stringify(type)}}`,
  );
}

/** JSON as it is, with every digit; anything else as text. */
function pieceOf(text: string): Json {
  const parsed = parseJson(text);
  if (!parsed.ok) return text;
  return mayLoseDigits(text) ? jsonText(text) : parsed.value;
}
