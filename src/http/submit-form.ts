import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import { jobOptions, type SubmitJobBody, submitJobBody } from "../protocol/resources.ts";
import { jsonObject } from "../protocol/values.ts";
import type { GivenFile } from "../space/calls.ts";
import { explainJson } from "./body.ts";
import { textOf } from "./form.ts";
import type { ReceivedForm } from "./form-intake.ts";
import { ProblemError, validate } from "./problems.ts";

/** A submit that came as a form. */
export interface FormSubmit {
  body: SubmitJobBody;
  /** The fields of the input that came as texts: the space's schema may say that they stand for numbers. */
  texts: string[];
  files: GivenFile[];
}

/**
 * Makes a submit of a form. The part `input` is a JSON object. A part with the name of an option sets that option:
 * `requires` is a list separated by commas, `webhook` a URL. Any other text part is a field of the input, and counts
 * more than a field of the same name in `input`.
 */
export function submitOf({ inputs, texts, files }: Omit<ReceivedForm, "discard">): FormSubmit {
  const fields = new Map(inputs.flatMap((part) => Object.entries(readInput(textOf(part)))));
  const options = new Map<string, Json>();
  const named: string[] = [];
  for (const [name, parts] of Map.groupBy(texts, ({ field }) => field)) {
    const values = parts.map(textOf);
    if (Object.hasOwn(jobOptions, name) && name !== "user")
      options.set(name, optionOf(name, values));
    else {
      fields.set(name, inputValue(values));
      named.push(name);
    }
  }
  // Setting the fields one by one would lose one that is named `__proto__`.
  const input = Object.fromEntries(fields);
  const body = validate(submitJobBody, { ...Object.fromEntries(options), input });
  return { body, texts: named, files };
}

function readInput(text: string): JsonObject {
  const parsed = parseJson(text.replace(/^\ufeff/, ""), LIMITS.inputDepth, parseExact);
  const object = jsonObject.safeParse(parsed.ok ? parsed.value : null);
  if (object.success) return object.data;
  const why = parsed.ok ? "" : ` ${explainJson(text, parsed.message)}`;
  throw invalid(`The form part \`input\` must be a JSON object.${why}`);
}

/** A field that stands several times in the form is a list. */
function inputValue(values: readonly string[]): Json {
  const [value = "", ...more] = values;
  return more.length === 0 ? value : [...values];
}

const TEXT_OPTIONS: ReadonlySet<string> = new Set(["idempotency_key", "webhook"]);

function optionOf(name: string, values: readonly string[]): Json {
  if (name === "requires")
    return values.flatMap((list) => list.split(",").map((word) => word.trim()));
  const [value = "", ...more] = values;
  if (more.length > 0) throw invalid(`The form sets the option \`${name}\` twice: send it once.`);
  return TEXT_OPTIONS.has(name) ? value : scalar(value);
}

/** A number or boolean; any other text stays text, which the option's schema refuses. */
function scalar(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return DECIMAL.test(text.trim()) ? Number(text) : text;
}

/** `Number` also reads `0x10`, `Infinity` and the empty text. */
const DECIMAL = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i;

function invalid(detail: string): ProblemError {
  return new ProblemError("invalid_request", detail);
}
