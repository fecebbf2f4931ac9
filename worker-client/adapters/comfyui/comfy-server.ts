import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { WebSocket } from "ws";
import { z } from "zod";
import { type Json, type JsonObject, parseJson } from "../../../src/protocol/codec.ts";
import { JobFailure } from "../../failure.ts";
import type { Log } from "../../log.ts";
import type { SavedFile } from "../job-folder.ts";
import {
  contentTypeOf,
  type LocalAnswer,
  readText,
  requestLocal,
  ServerUnreachable,
} from "../local-server/local-request.ts";
import { formBody } from "../local-server/multipart.ts";
import { refusalOf } from "../local-server/server-error.ts";
import { describeRefusal, type HistoryEntry, historyEntry } from "./failures.ts";
import type { ComfyFile } from "./messages.ts";
import { type NodeInfo, nodeInfo } from "./node-info.ts";
import type { Workflow } from "./workflow.ts";

/** How long short requests may take, milliseconds: ComfyUI answers them while it computes. */
const SHORT_MS = 30_000;
const MOST_CHARS = 32 * 1024 * 1024;
/** The largest message of its socket, bytes: a picture of `SaveImageWebsocket`. */
const MOST_MESSAGE_BYTES = 100 * 1024 * 1024;

const queue = z.object({
  queue_running: z.array(z.array(z.unknown())).default([]),
  queue_pending: z.array(z.array(z.unknown())).default([]),
});

/** The requests of ComfyUI's API that a worker needs. */
export class ComfyServer {
  readonly #baseUrl: URL;
  readonly #log: Log;

  constructor(baseUrl: URL, log: Log) {
    this.#baseUrl = baseUrl;
    this.#log = log;
  }

  /** What the server says about a class of nodes; `null` if it has no such class. */
  async nodeInfo(className: string, signal: AbortSignal): Promise<NodeInfo | null> {
    const path = `object_info/${encodeURIComponent(className)}`;
    const answer = await this.#read(path, { signal });
    const read = z.record(z.string(), nodeInfo).safeParse(answer);
    return read.success ? (read.data[className] ?? null) : null;
  }

  /** A socket that gets the messages about this client's prompts. */
  connect(clientId: string): WebSocket {
    const url = this.#url("ws", { clientId });
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(url, { maxPayload: MOST_MESSAGE_BYTES, handshakeTimeout: SHORT_MS });
  }

  /**
   * Puts a workflow into the server's queue; returns its id there. It can't be aborted: the server may have taken the
   * workflow already, and only its id can take it back.
   *
   * @throws {JobFailure} if it is refused
   */
  async submit(workflow: Workflow, clientId: string): Promise<string> {
    const answer = await this.#send("prompt", {
      body: JSON.stringify({ prompt: workflow, client_id: clientId }),
      silenceMs: SHORT_MS,
    });
    const text = await readText(answer, MOST_CHARS);
    const parsed = parseJson(text);
    const value = parsed.ok ? parsed.value : null;
    if (answer.status === 200) return z.object({ prompt_id: z.string() }).parse(value).prompt_id;
    this.#log.warn(`ComfyUI answered with status ${answer.status}: ${text.slice(0, 4_000)}`);
    const words = describeRefusal(value, workflow);
    if (words === null || answer.status >= 500) {
      const failure = `ComfyUI failed with status ${answer.status}.`;
      throw new JobFailure("worker_error", failure, answer.status >= 500);
    }
    throw new JobFailure("worker_error", `ComfyUI refused the workflow: ${words}`);
  }

  /** What became of a prompt; `null` while it is not over. */
  async history(promptId: string, signal?: AbortSignal): Promise<HistoryEntry | null> {
    const answer = await this.#read(`history/${encodeURIComponent(promptId)}`, { signal });
    const read = z.record(z.string(), historyEntry).safeParse(answer);
    return read.success ? (read.data[promptId] ?? null) : null;
  }

  /** Where a prompt is. */
  async place(promptId: string, signal?: AbortSignal): Promise<"running" | "waiting" | "gone"> {
    const { queue_running, queue_pending } = queue.parse(await this.#read("queue", { signal }));
    // An entry is `[number, prompt_id, prompt, …]`.
    if (queue_running.some((entry) => entry[1] === promptId)) return "running";
    return queue_pending.some((entry) => entry[1] === promptId) ? "waiting" : "gone";
  }

  /** Takes a prompt out of the queue, or interrupts it; another one that runs goes on. */
  async cancel(promptId: string): Promise<void> {
    await this.#post("queue", { delete: [promptId] });
    if ((await this.place(promptId)) !== "running") return;
    // Older versions ignore the id, and interrupt whatever runs.
    await this.#post("interrupt", { prompt_id: promptId });
  }

  /**
   * Gives the server a file, for a node that loads it. It goes to the folder that ComfyUI empties when it starts,
   * because there is no way to remove it.
   *
   * @returns the value of the node's input
   */
  async upload(file: SavedFile, name: string, signal: AbortSignal): Promise<string> {
    const { headers, stream } = await formBody([
      { name: "type", text: "temp" },
      { name: "overwrite", text: "true" },
      { name: "image", contentType: file.content_type, fileName: name, path: file.path },
    ]);
    const answer = await this.#send("upload/image", { body: stream, headers, signal });
    if (answer.status !== 200) throw await refusalOf(answer, this.#log);
    const parsed = parseJson(await readText(answer, MOST_CHARS));
    const stored = z
      .object({ name: z.string(), subfolder: z.string().default("") })
      .parse(parsed.ok ? parsed.value : null);
    const path = stored.subfolder === "" ? stored.name : `${stored.subfolder}/${stored.name}`;
    return `${path} [temp]`;
  }

  /** Saves a file that a node has made; returns its content type. */
  async download(file: ComfyFile, path: string, signal: AbortSignal): Promise<string> {
    const answer = await requestLocal(this.#url("view", { ...file }), { signal });
    if (answer.status !== 200) throw await refusalOf(answer, this.#log);
    try {
      await pipeline(answer.body, createWriteStream(path), { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new ServerUnreachable(String(error), false);
    }
    return contentTypeOf(answer);
  }

  async #post(path: string, body: JsonObject): Promise<void> {
    const answer = await this.#send(path, { body: JSON.stringify(body), silenceMs: SHORT_MS });
    answer.body.resume();
  }

  #send(path: string, options: Parameters<typeof requestLocal>[1] = {}): Promise<LocalAnswer> {
    const headers = { "content-type": "application/json", ...options.headers };
    return requestLocal(this.#url(path), { ...options, method: "POST", headers });
  }

  async #read(path: string, { signal }: { signal?: AbortSignal | undefined }): Promise<Json> {
    const answer = await requestLocal(this.#url(path), { signal, silenceMs: SHORT_MS });
    const text = await readText(answer, MOST_CHARS);
    const parsed = parseJson(text);
    if (answer.status === 200 && parsed.ok) return parsed.value;
    throw new ServerUnreachable(`status ${answer.status} for ${path}`, false);
  }

  #url(path: string, query: Record<string, string> = {}): URL {
    const url = new URL(this.#baseUrl);
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`;
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url;
  }
}
