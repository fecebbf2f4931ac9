import type { Json } from "../../../src/protocol/codec.ts";
import { parseJson } from "../../../src/protocol/codec.ts";
import { JobFailure } from "../../failure.ts";
import type { Job } from "../../job.ts";
import { jsonText } from "../../json-text.ts";
import type { Log } from "../../log.ts";
import { type Adapter, ModelUnusable } from "../adapter.ts";
import { MAX_LINE_CHARS } from "../lines.ts";
import {
  contentTypeOf,
  type LocalAnswer,
  readText,
  requestLocal,
  ServerUnreachable,
} from "../local-server/local-request.ts";
import { LocalServer, type ServerCheck } from "../local-server/local-server.ts";
import { messageIn, refusalOf, withPlainErrors } from "../local-server/server-error.ts";
import { EventStreamReader } from "../local-server/server-sent-events.ts";
import { BAD_ANSWER, ChatAnswer, chatChunk } from "./chat-answer.ts";
import { type OpenAiRequest, requestOf } from "./chat-request.ts";
import { modelList, openAiSchema } from "./models.ts";

export interface OpenAiOptions {
  /** The address under which `chat/completions` is, such as `http://localhost:11434/v1`. */
  baseUrl: URL;
  apiKey?: string | undefined;
  /** The model of jobs that name none; if not given, the first of the server's list. */
  model?: string | undefined;
  /** Whether the form has a field for a picture. */
  vision?: boolean;
  log: Log;
  /** How often the server is asked while it is away, and while it is there, milliseconds. */
  retryMs?: number;
  refreshMs?: number;
}

/** How long `GET /models` may take, milliseconds. */
const MODELS_MS = 10_000;

/** Runs jobs on a server with OpenAI's API on this machine, such as Ollama, vLLM or llama.cpp. */
export function openAiAdapter(options: OpenAiOptions): Adapter {
  const client = new OpenAiClient(options);
  const { log, baseUrl, retryMs, refreshMs } = options;
  const server = new LocalServer({
    name: baseUrl.href,
    log,
    check: (signal) => client.check(signal),
    retryMs,
    refreshMs,
  });
  return {
    model: server,
    handle: (job) =>
      server.run(() =>
        withPlainErrors(() => client.run(job), {
          log,
          signal: job.signal,
          onAway: () => server.onAway(),
        }),
      ),
    close: async () => server.close(),
  };
}

class OpenAiClient {
  readonly #options: OpenAiOptions;
  readonly #headers: Record<string, string>;
  #model: string;

  constructor(options: OpenAiOptions) {
    this.#options = options;
    this.#model = options.model ?? "";
    const { apiKey } = options;
    this.#headers = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
  }

  /** Asks the server for its models. */
  async check(signal: AbortSignal): Promise<ServerCheck> {
    let answer: LocalAnswer;
    let text: string;
    try {
      answer = await requestLocal(this.#url("models"), {
        headers: this.#headers,
        signal,
        silenceMs: MODELS_MS,
      });
      text = await readText(answer, MAX_LINE_CHARS);
    } catch (error) {
      if (!(error instanceof ServerUnreachable)) throw error;
      return { type: "away", why: `does not answer (${error.message})` };
    }
    if (answer.status === 200) return this.#onModels(text);
    return this.#onNoModels(answer.status, text);
  }

  async run(job: Job): Promise<Json> {
    const request = await requestOf(job, this.#model);
    const answer = await this.#send(request, job.signal);
    if (request.path === "embeddings") return jsonText(await this.#readJson(answer));
    return contentTypeOf(answer) === "text/event-stream"
      ? this.#stream(job, answer)
      : this.#readWhole(job, answer);
  }

  #onModels(text: string): ServerCheck {
    const parsed = parseJson(text);
    const listed = modelList.safeParse(parsed.ok ? parsed.value : null);
    const models = listed.success ? listed.data.data.map(({ id }) => id) : [];
    const { model = models[0], vision = false } = this.#options;
    if (model === undefined) {
      return { type: "away", why: "offers no model yet" };
    }
    this.#model = model;
    return { type: "ready", schema: openAiSchema({ models, model, vision }) };
  }

  #onNoModels(status: number, text: string): ServerCheck {
    const { model, vision = false, baseUrl } = this.#options;
    const said = messageIn(text);
    const words = said === null ? "" : `: ${said}`;
    if (status === 401 || status === 403) {
      throw new ModelUnusable(
        `the server at ${baseUrl} wants another API key (${status}${words}): set OPENAI_API_KEY`,
      );
    }
    if (status === 404 || status === 405 || status === 501) {
      if (model !== undefined) {
        return { type: "ready", schema: openAiSchema({ models: [], model, vision }) };
      }
      throw new ModelUnusable(
        `the server at ${baseUrl} has no list of models (${status} for ${this.#url("models")}): most addresses end with /v1; if it has no such list, name the model with --model`,
      );
    }
    return { type: "away", why: `answers with status ${status}${words}` };
  }

  async #send({ path, body }: OpenAiRequest, signal: AbortSignal): Promise<LocalAnswer> {
    const answer = await requestLocal(this.#url(path), {
      method: "POST",
      headers: {
        ...this.#headers,
        "content-type": "application/json",
        accept: path === "embeddings" ? "application/json" : "text/event-stream, application/json",
      },
      body: JSON.stringify(body),
      signal,
    });
    if (answer.status === 200) return answer;
    throw await refusalOf(answer, this.#options.log);
  }

  async #stream(job: Job, { body }: LocalAnswer): Promise<Json> {
    const events = new EventStreamReader();
    const made = new ChatAnswer();
    let isDone = false;
    try {
      for await (const piece of body.setEncoding("utf8") as AsyncIterable<string>) {
        for (const { data } of events.push(piece)) {
          if (data.trim() === "[DONE]") isDone = true;
          else this.#onChunk(job, made, data);
        }
        if (isDone) break;
      }
    } catch (error) {
      if (error instanceof JobFailure || job.signal.aborted) throw error;
      if (error instanceof RangeError) throw new JobFailure("worker_error", BAD_ANSWER);
      this.#options.log.warn(`the server's answer broke off: ${String(error)}`);
    }
    if (isDone || made.isComplete) return made.result();
    throw new JobFailure("worker_error", "The model's server broke its answer off.", true);
  }

  async #readWhole(job: Job, answer: LocalAnswer): Promise<Json> {
    const made = new ChatAnswer();
    this.#onChunk(job, made, await this.#readJson(answer));
    return made.result();
  }

  #onChunk(job: Job, made: ChatAnswer, text: string): void {
    const parsed = parseJson(text);
    const value = parsed.ok ? parsed.value : null;
    if (typeof value === "object" && value !== null && "error" in value && value.error !== null) {
      this.#options.log.warn(`the server reported an error: ${text.slice(0, 2_000)}`);
      const said = messageIn(text) ?? "it gave no reason";
      throw new JobFailure("worker_error", `The model's server gave up: ${said}`);
    }
    const chunk = chatChunk.safeParse(value);
    if (!chunk.success) {
      this.#options.log.warn(`the server sent what can't be read: ${text.slice(0, 2_000)}`);
      throw new JobFailure("worker_error", BAD_ANSWER);
    }
    for (const piece of made.add(chunk.data)) job.output(piece);
  }

  async #readJson(answer: LocalAnswer): Promise<string> {
    const text = await readText(answer, MAX_LINE_CHARS + 1);
    if (parseJson(text).ok) return text;
    throw new JobFailure("worker_error", BAD_ANSWER);
  }

  #url(path: string): URL {
    const { baseUrl } = this.#options;
    const url = new URL(baseUrl);
    url.pathname = `${baseUrl.pathname.replace(/\/+$/, "")}/${path}`;
    return url;
  }
}
