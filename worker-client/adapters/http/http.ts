import { createWriteStream } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Json } from "../../../src/protocol/codec.ts";
import { parseJson } from "../../../src/protocol/codec.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import { jsonText } from "../../json-text.ts";
import type { Log } from "../../log.ts";
import type { Adapter } from "../adapter.ts";
import { extensionOf } from "../content-types.ts";
import { type JobFolder, safeFileName, withJobFolder } from "../job-folder.ts";
import { LineSplitter, MAX_LINE_CHARS } from "../lines.ts";
import {
  contentTypeOf,
  type LocalAnswer,
  readText,
  requestLocal,
} from "../local-server/local-request.ts";
import { LocalServer, type ServerCheck } from "../local-server/local-server.ts";
import { type FormPart, formBody } from "../local-server/multipart.ts";
import { refusalOf, withPlainErrors } from "../local-server/server-error.ts";
import { EventStreamReader } from "../local-server/server-sent-events.ts";
import { AnswerFrames } from "./answer-frames.ts";

export interface HttpOptions {
  /** Where each job is posted. */
  url: URL;
  log: Log;
  /** How often the server is asked while it is away, and while it is there, milliseconds. */
  retryMs?: number;
  refreshMs?: number;
}

/** Posts each job to an address on this machine; docs/workers.md describes the request and the answers. */
export function httpAdapter(options: HttpOptions): Adapter {
  const { url, log, retryMs, refreshMs } = options;
  const server = new LocalServer({
    name: url.origin,
    log,
    check: (signal) => checkListens(url, signal),
    retryMs,
    refreshMs,
  });
  return {
    model: server,
    handle: (job) =>
      server.run(() =>
        withPlainErrors(() => withJobFolder(job, (folder) => post(job, folder, options)), {
          log,
          signal: job.signal,
          onAway: () => server.onAway(),
        }),
      ),
    close: async () => server.close(),
  };
}

/** Only connects: any request could mean something to the server. */
function checkListens(url: URL, signal: AbortSignal): Promise<ServerCheck> {
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  // An IPv6 address stands in brackets.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 10_000 });
    const onAbort = () => socket.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    let found: ServerCheck = { type: "away", why: "does not answer" };
    socket.on("connect", () => {
      found = { type: "ready", schema: undefined };
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", ({ message }) => {
      found = { type: "away", why: `does not answer (${message})` };
    });
    socket.on("close", () => {
      signal.removeEventListener("abort", onAbort);
      if (signal.aborted) reject(signal.reason);
      else resolve(found);
    });
  });
}

async function post(
  job: Job,
  folder: JobFolder,
  { url, log }: HttpOptions,
): Promise<Json | undefined> {
  const { headers, body } = await requestFor(job, folder);
  const answer = await requestLocal(url, {
    method: "POST",
    headers: { ...headers, ...headersAbout(job) },
    body,
    signal: job.signal,
  });
  if (answer.status < 200 || answer.status >= 300) throw await refusalOf(answer, log);
  return readAnswer(job, folder, answer, log);
}

/** Without files the body is the input itself; with files it is a form, with the input as its part `input`. */
async function requestFor(job: Job, { files }: JobFolder) {
  if (files.length === 0) {
    return { headers: { "content-type": "application/json" }, body: job.inputText };
  }
  const parts: FormPart[] = [
    { name: "input", contentType: "application/json", text: job.inputText },
    ...files.map(({ field, name, content_type: contentType, path }) => ({
      name: field,
      fileName: name,
      contentType,
      path,
    })),
  ];
  const { headers, stream } = await formBody(parts);
  return { headers, body: stream };
}

function headersAbout(job: Job): Record<string, string> {
  return {
    accept: "application/json, text/event-stream, application/x-ndjson, */*",
    "dialout-job-id": job.id,
    "dialout-attempt": String(job.attempt),
    // A user's id has no other characters, whatever an edge may send.
    ...(job.user === null ? {} : { "dialout-user": job.user.replace(/[^\x21-\x7e]/g, "?") }),
  };
}

const NDJSON = [
  "application/x-ndjson",
  "application/ndjson",
  "application/jsonl",
  "application/x-jsonlines",
];

async function readAnswer(
  job: Job,
  folder: JobFolder,
  answer: LocalAnswer,
  log: Log,
): Promise<Json | undefined> {
  const type = contentTypeOf(answer);
  const isStream = type === "text/event-stream" || NDJSON.includes(type);
  if (answer.status === 204 || answer.headers["content-length"] === "0") {
    answer.body.resume();
    return null;
  }
  if (isStream) return readStream(job, answer, type, log);
  if (type === "application/json" || type.endsWith("+json")) return readJson(answer);
  if (type === "" || type.startsWith("text/")) return readPlain(job, answer, log);
  return readFile(job, folder, answer, type, log);
}

async function readStream(
  job: Job,
  answer: LocalAnswer,
  type: string,
  log: Log,
): Promise<Json | undefined> {
  const frames = new AnswerFrames(job);
  const lines = new LineSplitter((line) => line.trim() !== "" && frames.onPiece(line.trim()));
  const events = new EventStreamReader();
  const isEvents = type === "text/event-stream";
  await forEachPiece(job, answer, log, (piece) => {
    if (!isEvents) return lines.push(piece);
    for (const { event, data } of events.push(piece)) {
      if (data.trim() === "[DONE]") continue;
      if (event === "message") frames.onPiece(data);
      else frames.onNamed(event, data);
    }
  });
  lines.end();
  return frames.finish();
}

async function readPlain(job: Job, answer: LocalAnswer, log: Log): Promise<undefined> {
  await forEachPiece(job, answer, log, (piece) => job.output(piece));
}

/** @throws {JobFailure} if the answer breaks off, or a line or event of it is too long */
async function forEachPiece(
  job: Job,
  { body }: LocalAnswer,
  log: Log,
  act: (piece: string) => void,
): Promise<void> {
  try {
    for await (const piece of body.setEncoding("utf8") as AsyncIterable<string>) act(piece);
  } catch (error) {
    if (error instanceof JobFailure || job.signal.aborted) throw error;
    if (error instanceof RangeError) {
      throw new JobFailure("worker_error", `The model's server sent ${error.message}.`);
    }
    throw brokenOff(error, job, log);
  }
}

function brokenOff(error: unknown, job: Job, log: Log): unknown {
  if (job.signal.aborted) return error;
  log.warn(`the server's answer broke off: ${String(error)}`);
  return new JobFailure("worker_error", "The model's server broke its answer off.", true);
}

async function readJson(answer: LocalAnswer): Promise<Json> {
  const text = await readText(answer, MAX_LINE_CHARS + 1);
  if (text.length <= MAX_LINE_CHARS && parseJson(text).ok) return jsonText(text);
  const why = text.length > MAX_LINE_CHARS ? "is too long" : "is not valid JSON";
  throw new JobFailure("worker_error", `The answer of the model's server ${why}.`);
}

/** A picture, a sound or anything else that isn't text becomes an output file. */
async function readFile(
  job: Job,
  { outputs }: JobFolder,
  answer: LocalAnswer,
  contentType: string,
  log: Log,
): Promise<Json> {
  const name = fileNameIn(answer) ?? `output.${extensionOf(contentType)}`;
  const path = join(outputs.path, name);
  try {
    await pipeline(answer.body, createWriteStream(path), { signal: job.signal });
  } catch (error) {
    throw brokenOff(error, job, log);
  }
  await job.file(name, { path }, { contentType });
  return { file: name };
}

function fileNameIn({ headers }: LocalAnswer): string | null {
  const disposition = headers["content-disposition"] ?? "";
  const extended = /filename\*=UTF-8''([^;\s]+)/i.exec(disposition)?.[1];
  const plain = /filename="([^"]+)"|filename=([^;\s]+)/i.exec(disposition);
  const name = extended === undefined ? (plain?.[1] ?? plain?.[2]) : decoded(extended);
  return name ? safeFileName(name) : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
