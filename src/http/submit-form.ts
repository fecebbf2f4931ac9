import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { shortenName } from "../protocol/file-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { jobOptions, type SubmitJobBody, submitJobBody } from "../protocol/resources.ts";
import { jsonObject } from "../protocol/values.ts";
import { explainJson } from "./body.ts";
import { type FormPart, textOf } from "./form.ts";
import { isJsonType } from "./header-parameters.ts";
import { ProblemError, validate } from "./problems.ts";

/** A submit that came as a form. */
export interface FormSubmit {
  body: SubmitJobBody;
  /** The fields of the input that came as texts: the space's schema may say that they stand for numbers. */
  texts: string[];
  files: FormPart[];
}

/**
 * Makes a submit of a form's parts. The part `input` is a JSON object. A part with the name of an option sets
 * that option: `requires` is a list separated by commas, `webhook` a URL. Any other text part is a field of the
 * input, and counts more than a field of the same name in `input`.
 */
export function submitOf(parts: readonly FormPart[]): FormSubmit {
  const { inputs, texts, files } = sortParts(parts);
  checkFiles(files);
  checkSize([...inputs, ...texts]);
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

interface SortedParts {
  inputs: FormPart[];
  texts: FormPart[];
  files: FormPart[];
}

function sortParts(parts: readonly FormPart[]): SortedParts {
  const texts = parts.filter(({ fileName }) => fileName === null);
  const files = parts.filter(({ fileName }) => fileName !== null);
  const inputs = texts.filter(({ field }) => field === "input");
  if (inputs.length > 0) {
    return { inputs, texts: texts.filter(({ field }) => field !== "input"), files };
  }
  // curl gives it a file name: `-F 'input=@input.json;type=application/json'`.
  const jsonFiles = files.filter(({ field, type }) => field === "input" && isJsonType(type ?? ""));
  return { inputs: jsonFiles, texts, files: files.filter((file) => !jsonFiles.includes(file)) };
}

function checkFiles(files: readonly FormPart[]): void {
  if (files.length > LIMITS.filesPerJob) {
    throw invalid(`A job may have ${LIMITS.filesPerJob} files at most.`);
  }
  const long = files.find(({ field }) => field.length > FIELD_LENGTH);
  if (!long) return;
  const field = `${shortenName(long.field, 60)}…`;
  throw invalid(
    `The field \`${field}\`: a file's field may have ${FIELD_LENGTH} characters at most.`,
  );
}

/** The longest name of a file's field: it is stored with the job. */
const FIELD_LENGTH = 200;

/** Texts are counted before they are decoded and put together, which takes several times as much memory. */
function checkSize(texts: readonly FormPart[]): void {
  const size = texts.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (size <= LIMITS.jsonBodyBytes) return;
  const detail = `The text parts of the form have ${size} bytes; ${LIMITS.jsonBodyBytes} are allowed. Send large data as a file.`;
  throw new ProblemError("payload_too_large", detail);
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
