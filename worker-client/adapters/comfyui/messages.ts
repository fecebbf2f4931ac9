import { z } from "zod";
import { type JsonObject, parseJson } from "../../../src/protocol/codec.ts";
import { jsonObject } from "../../../src/protocol/values.ts";

const ids = z.array(z.string());
const prompt = { prompt_id: z.string().nullish() };
const nodeState = z.object({ value: z.number(), max: z.number(), state: z.string() });

/** What goes wrong in a node. */
export const nodeError = z.object({
  ...prompt,
  node_id: z.coerce.string().nullish(),
  node_type: z.string().nullish(),
  exception_message: z.string().nullish(),
  exception_type: z.string().nullish(),
  traceback: z.array(z.string()).nullish(),
});

/** The messages of ComfyUI's socket that matter here, `{type, data}`. */
const message = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("status"),
    data: z.object({
      status: z.object({ exec_info: z.object({ queue_remaining: z.number() }) }),
    }),
  }),
  z.object({ type: z.literal("execution_start"), data: z.object(prompt) }),
  z.object({ type: z.literal("execution_cached"), data: z.object({ ...prompt, nodes: ids }) }),
  z.object({
    type: z.literal("executing"),
    data: z.object({ ...prompt, node: z.string().nullable() }),
  }),
  z.object({
    type: z.literal("progress"),
    data: z.object({ ...prompt, node: z.string().nullish(), value: z.number(), max: z.number() }),
  }),
  z.object({
    type: z.literal("progress_state"),
    data: z.object({ ...prompt, nodes: z.record(z.string(), nodeState) }),
  }),
  z.object({
    type: z.literal("executed"),
    data: z.object({ ...prompt, node: z.string(), output: jsonObject.nullish() }),
  }),
  z.object({ type: z.literal("execution_success"), data: z.object(prompt) }),
  z.object({ type: z.literal("execution_error"), data: nodeError }),
  z.object({ type: z.literal("execution_interrupted"), data: nodeError }),
]);
export type ComfyMessage = z.infer<typeof message>;

/** `null`: a message that this worker doesn't know, or that can't be read. */
export function readMessage(text: string): ComfyMessage | null {
  const parsed = parseJson(text);
  const read = message.safeParse(parsed.ok ? parsed.value : null);
  return read.success ? read.data : null;
}

/** The prompt that a message is about; `null` if it is about none, or an older ComfyUI doesn't say. */
export function promptOf({ data }: ComfyMessage): string | null {
  return "prompt_id" in data ? (data.prompt_id ?? null) : null;
}

/** A picture that came over the socket. */
export interface SocketImage {
  bytes: Buffer;
  contentType: string;
  /** The node that made it, if ComfyUI says. */
  node: string | null;
}

/** Numbers of binary messages: 4 bytes, the highest first. */
const PREVIEW = 1;
const PREVIEW_WITH_METADATA = 4;
const PNG = 2;

/**
 * Reads a binary message: `1`, the format (1 JPEG, 2 PNG), the picture; or `4`, the length of a JSON object, that
 * object, the picture. Returns `null` for any other.
 */
export function readImage(data: Buffer): SocketImage | null {
  if (data.length <= 8) return null;
  const number = data.readUInt32BE(4);
  switch (data.readUInt32BE(0)) {
    case PREVIEW: {
      const contentType = number === PNG ? "image/png" : "image/jpeg";
      return { bytes: data.subarray(8), contentType, node: null };
    }
    case PREVIEW_WITH_METADATA: {
      const start = 8 + number;
      if (start >= data.length) return null;
      return { bytes: data.subarray(start), ...readMetadata(data.toString("utf8", 8, start)) };
    }
    default:
      return null;
  }
}

const metadata = z.object({
  node_id: z.string().nullish(),
  image_type: z
    .string()
    .regex(/^image\/[a-z]{1,20}$/)
    .catch("image/jpeg")
    .default("image/jpeg"),
});

function readMetadata(text: string): Pick<SocketImage, "contentType" | "node"> {
  const parsed = parseJson(text);
  const read = metadata.safeParse(parsed.ok ? parsed.value : null);
  return read.success
    ? { contentType: read.data.image_type, node: read.data.node_id ?? null }
    : { contentType: "image/jpeg", node: null };
}

/** A file that a node has made, as ComfyUI names it. */
export const comfyFile = z.object({
  filename: z.string().min(1),
  subfolder: z.string().default(""),
  type: z.string().default("output"),
});
export type ComfyFile = z.infer<typeof comfyFile>;

/** The files and texts among a node's outputs, whose names differ: `images`, `gifs`, `audio`, `text` … */
export function readOutputs(output: JsonObject): { files: ComfyFile[]; texts: string[] } {
  const files: ComfyFile[] = [];
  const texts: string[] = [];
  for (const [name, entries] of Object.entries(output)) {
    for (const entry of Array.isArray(entries) ? entries : []) {
      const file = comfyFile.safeParse(entry);
      if (file.success) files.push(file.data);
      else if (typeof entry === "string" && TEXTS.has(name)) texts.push(entry);
    }
  }
  return { files, texts };
}

const TEXTS = new Set(["text", "string"]);
