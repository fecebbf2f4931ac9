import { z } from "zod";
import type { JsonObject } from "../../../src/protocol/codec.ts";
import type { DeclaredSchema } from "../../../src/protocol/declared-schema.ts";

/** The answer of `GET /models`. */
export const modelList = z.object({
  data: z
    .array(z.object({ id: z.string().min(1).max(300) }))
    .nullish()
    .transform((models) => models ?? []),
});

/** Most models that are offered as choices: a schema may have 65,536 bytes. */
const MOST_MODELS = 200;

interface OpenAiForm {
  /** The ids of the server's models. */
  models: readonly string[];
  /** Used if a job names none. */
  model: string;
  /** Whether the form has a field for a picture. */
  vision: boolean;
}

/** What the jobs of an OpenAI-compatible server take and give. */
export function openAiSchema({ models, model, vision }: OpenAiForm): DeclaredSchema {
  const known = [...new Set([model, ...[...models].sort()])].slice(0, MOST_MODELS);
  const properties: JsonObject = {
    prompt: { type: "string", title: "Prompt", format: "multiline" },
    ...(vision ? { image: { type: "string", title: "Picture", format: "image" } } : {}),
    system: {
      type: "string",
      title: "Instructions",
      description: "How the model should behave.",
      format: "multiline",
    },
    model: { type: "string", title: "Model", enum: known, default: model },
    temperature: {
      type: "number",
      title: "Temperature",
      description: "0 gives the likeliest answer, more gives others.",
      minimum: 0,
      maximum: 2,
    },
    max_tokens: {
      type: "integer",
      title: "Most tokens",
      description: "How long the answer may become.",
      minimum: 1,
    },
  };
  return { input: { type: "object", properties }, output: OUTPUT };
}

const OUTPUT: JsonObject = {
  type: "object",
  properties: {
    text: { type: "string", title: "Answer", format: "markdown" },
    finish_reason: { type: ["string", "null"], title: "Why it ended" },
    reasoning: { type: "string", title: "Reasoning", format: "markdown" },
    usage: { type: ["object", "null"], title: "Tokens" },
    model: { type: ["string", "null"], title: "Model" },
  },
};
