import type { Json, JsonObject } from "../../../src/protocol/codec.ts";
import { parseExact } from "../../../src/protocol/exact-json.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import type { JobFile } from "../../submitted-file.ts";

/** A request to an OpenAI-compatible server. */
export interface OpenAiRequest {
  path: "chat/completions" | "embeddings";
  body: JsonObject;
}

/** Files go to the server within the request, in memory and one third larger than they are; bytes of all together. */
const MOST_FILE_BYTES = 20 * 1024 * 1024;

/** Fields of an input that are not the server's. */
const OWN_FIELDS = new Set(["prompt", "system", "stream", "stream_options"]);

/**
 * The request that a job's input stands for: `messages` or `prompt` (with `system`) is a chat, `input` is for
 * embeddings. Every other field, such as `temperature` or `tools`, is passed on as it came.
 *
 * @param model used if the input names none
 * @throws {JobFailure} if the input is none of these
 */
export async function requestOf(job: Job, model: string): Promise<OpenAiRequest> {
  // With every digit: a seed may have more than JavaScript's numbers keep.
  const input = parseExact(job.inputText) as JsonObject;
  const passed = Object.fromEntries(
    Object.entries(input).filter(([name]) => !OWN_FIELDS.has(name)),
  );
  const named = typeof input.model === "string" && input.model !== "" ? input.model : model;
  const messages = messagesIn(input);
  if (messages === null) {
    if (input.input !== undefined) {
      return { path: "embeddings", body: { ...passed, model: named } };
    }
    throw new JobFailure(
      "worker_error",
      "The input has none of `prompt` (a text), `messages` (a list) and `input` (texts to embed).",
    );
  }
  const options = { stream: true, stream_options: { include_usage: true } };
  const withParts = await withFiles(messages, job.files);
  return {
    path: "chat/completions",
    body: { ...passed, model: named, messages: withParts, ...options },
  };
}

function messagesIn({ messages, prompt, system }: JsonObject): Json[] | null {
  if (Array.isArray(messages) && messages.length > 0) return messages;
  if (typeof prompt !== "string" || prompt.trim() === "") return null;
  const instructions =
    typeof system === "string" && system.trim() !== "" ? [{ role: "system", content: system }] : [];
  return [...instructions, { role: "user", content: prompt }];
}

/** The messages with the job's files as parts of the last one that the user wrote. */
async function withFiles(messages: Json[], files: readonly JobFile[]): Promise<Json[]> {
  if (files.length === 0) return messages;
  const bytes = files.reduce((total, { size }) => total + size, 0);
  if (bytes > MOST_FILE_BYTES) {
    throw new JobFailure(
      "worker_error",
      `The files have more than ${MOST_FILE_BYTES / 1_048_576} MB together, which is too much for the model's server.`,
    );
  }
  const parts = await Promise.all(files.map(partOf));
  const at = messages.findLastIndex((message) => isObject(message) && message.role === "user");
  const message = messages[at];
  if (!isObject(message)) return [...messages, { role: "user", content: parts }];
  const content = Array.isArray(message.content)
    ? message.content
    : [{ type: "text", text: message.content ?? "" }];
  return messages.with(at, { ...message, content: [...content, ...parts] });
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function partOf(file: JobFile): Promise<JsonObject> {
  const [kind, subtype = ""] = file.contentType.split(";", 1)[0]?.trim().split("/") ?? [];
  if (kind === "image") {
    const data = (await file.download()).toString("base64");
    return { type: "image_url", image_url: { url: `data:image/${subtype};base64,${data}` } };
  }
  if (kind === "audio") {
    const data = (await file.download()).toString("base64");
    const format = AUDIO_FORMATS[subtype] ?? subtype;
    return { type: "input_audio", input_audio: { data, format } };
  }
  if (kind === "text" || TEXT_TYPES.has(`${kind}/${subtype}`)) {
    const text = (await file.download()).toString("utf8");
    return { type: "text", text: `${file.name}:\n${text}` };
  }
  throw new JobFailure(
    "worker_error",
    `A file of the type ${file.contentType} can't be given to this model: images, audio and text can.`,
  );
}

const AUDIO_FORMATS: Record<string, string> = { mpeg: "mp3", "x-wav": "wav", wave: "wav" };
const TEXT_TYPES = new Set(["application/json", "application/xml", "application/yaml"]);
