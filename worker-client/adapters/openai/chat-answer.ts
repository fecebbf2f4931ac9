import { z } from "zod";
import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import { json, jsonObject } from "../../../src/protocol/values.ts";
import { JobFailure } from "../../failure.ts";

/** A part of a message: the whole of it, or what one chunk of a stream adds. */
const messagePart = z.object({
  content: z.string().nullish(),
  /** How the model came to its answer; vLLM and llama.cpp. */
  reasoning_content: z.string().nullish(),
  /** The same of Ollama and newer vLLM. */
  reasoning: z.string().nullish(),
  refusal: z.string().nullish(),
  tool_calls: z.array(jsonObject).nullish(),
});

const choice = z.object({
  index: z.int().min(0).max(1_000).catch(0),
  delta: messagePart.nullish(),
  message: messagePart.nullish(),
  finish_reason: z.string().nullish(),
  logprobs: z.object({ content: z.array(json).nullish() }).nullish(),
});

/** An answer of `chat/completions`, whole or a chunk of it. */
export const chatChunk = z.object({
  id: z.string().nullish(),
  model: z.string().nullish(),
  choices: z.array(choice).default([]),
  usage: jsonObject.nullish(),
});
type ChatChunk = z.infer<typeof chatChunk>;

const toolCallPart = z.object({
  index: z.int().min(0).max(1_000).optional(),
  id: z.string().nullish(),
  type: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});

interface ToolCall {
  id: string;
  type: string;
  function: { name: string; arguments: string };
}

interface Choice {
  text: string;
  reasoning: string;
  refusal: string;
  toolCalls: ToolCall[];
  logprobs: Json[];
  finishReason: string | null;
}

const EMPTY: Omit<Choice, "toolCalls" | "logprobs"> = {
  text: "",
  reasoning: "",
  refusal: "",
  finishReason: null,
};

/** Puts an answer together, and says what each chunk of it is as output of the job. */
export class ChatAnswer {
  readonly #choices: Choice[] = [];
  #usage: JsonObject | null = null;
  #model: string | null = null;

  /** Whether the server said why it ended. */
  get isComplete(): boolean {
    return this.#choices.length > 0 && this.#choices.every((made) => made.finishReason !== null);
  }

  /**
   * Takes the next chunk, and returns the pieces of output to stream: text as text; `{reasoning}`, `{tool_calls}` and
   * `{refusal}` as JSON, and text of a further choice (`n`) as `{index, text}`.
   */
  add(chunk: ChatChunk): Json[] {
    this.#usage = chunk.usage ?? this.#usage;
    this.#model ??= chunk.model ?? null;
    return chunk.choices.flatMap((part) => {
      const made = this.#choice(part.index);
      made.finishReason = part.finish_reason ?? made.finishReason;
      made.logprobs.push(...(part.logprobs?.content ?? []));
      const added = part.delta ?? part.message;
      return added ? this.#addPart(made, added, part.index) : [];
    });
  }

  /** The job's result. */
  result(): JsonObject {
    const [first, ...others] = this.#choices.map(resultOf);
    return {
      ...(first ?? resultOf({ ...EMPTY, toolCalls: [], logprobs: [] })),
      usage: this.#usage,
      model: this.#model,
      ...(others.length > 0 ? { choices: [first ?? {}, ...others] } : {}),
    };
  }

  #addPart(made: Choice, part: z.infer<typeof messagePart>, index: number): Json[] {
    const where: JsonObject = index === 0 ? {} : { index };
    const pieces: Json[] = [];
    const reasoning = part.reasoning_content || part.reasoning;
    if (reasoning) {
      made.reasoning += reasoning;
      pieces.push({ ...where, reasoning });
    }
    if (part.content) {
      made.text += part.content;
      pieces.push(index === 0 ? part.content : { ...where, text: part.content });
    }
    if (part.refusal) {
      made.refusal += part.refusal;
      pieces.push({ ...where, refusal: part.refusal });
    }
    if (part.tool_calls && part.tool_calls.length > 0) {
      addToolCalls(made.toolCalls, part.tool_calls);
      pieces.push({ ...where, tool_calls: part.tool_calls });
    }
    return pieces;
  }

  #choice(index: number): Choice {
    while (this.#choices.length <= index) {
      this.#choices.push({ ...EMPTY, toolCalls: [], logprobs: [] });
    }
    const made = this.#choices[index];
    if (made === undefined) throw new RangeError("no such choice");
    return made;
  }
}

/** The parts of a call come in pieces: its name first, then its arguments bit by bit. */
function addToolCalls(calls: ToolCall[], parts: JsonObject[]): void {
  for (const [position, part] of parts.entries()) {
    const read = toolCallPart.safeParse(part);
    if (!read.success) throw new JobFailure("worker_error", BAD_ANSWER);
    const { index = position, id, type, function: called } = read.data;
    while (calls.length <= index) {
      calls.push({ id: "", type: "function", function: { name: "", arguments: "" } });
    }
    const call = calls[index];
    if (call === undefined) continue;
    call.id ||= id ?? "";
    call.type = type ?? call.type;
    call.function.name += called?.name ?? "";
    call.function.arguments += called?.arguments ?? "";
  }
}

function resultOf({
  text,
  reasoning,
  refusal,
  toolCalls,
  logprobs,
  finishReason,
}: Choice): JsonObject {
  return {
    text,
    finish_reason: finishReason,
    ...(reasoning === "" ? {} : { reasoning }),
    ...(refusal === "" ? {} : { refusal }),
    ...(toolCalls.length === 0
      ? {}
      : { tool_calls: toolCalls.map((call) => ({ ...call, function: { ...call.function } })) }),
    ...(logprobs.length === 0 ? {} : { logprobs: { content: logprobs } }),
  };
}

export const BAD_ANSWER =
  "The model's server answered with something that is no answer of an OpenAI-compatible server.";
