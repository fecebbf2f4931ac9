import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import { Mailbox } from "./fake-edge.ts";

/** One request to `chat/completions`, which the test answers as it likes. */
export class ChatRequest {
  readonly body: JsonObject;
  readonly headers: IncomingMessage["headers"];
  /** Resolves when the client has closed the connection, or the answer has ended. */
  readonly closed: Promise<void>;
  readonly #response: ServerResponse;

  constructor(body: JsonObject, request: IncomingMessage, response: ServerResponse) {
    this.body = body;
    this.headers = request.headers;
    this.#response = response;
    this.closed = new Promise((resolve) => response.on("close", resolve));
  }

  /** Begins a stream as vLLM and Ollama do. */
  begin(): void {
    this.#response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    this.delta({ role: "assistant", content: "" });
  }

  delta(delta: JsonObject, finish: string | null = null, index = 0): void {
    this.event({
      id: "chatcmpl-123",
      object: "chat.completion.chunk",
      created: 1_764_000_000,
      model: String(this.body.model),
      system_fingerprint: "fp_ollama",
      choices: [{ index, delta, finish_reason: finish }],
    });
  }

  /** Ends a stream: its last chunk has the usage and no choice. */
  end(usage: JsonObject = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 }): void {
    this.event({
      id: "chatcmpl-123",
      object: "chat.completion.chunk",
      created: 1_764_000_000,
      model: String(this.body.model),
      choices: [],
      usage,
    });
    this.#response.end("data: [DONE]\n\n");
  }

  event(data: Json): void {
    this.#response.write(`data: ${JSON.stringify(data)}\n\n`);
  }

  answer(status: number, body: Json): void {
    this.#response.writeHead(status, { "content-type": "application/json" });
    this.#response.end(JSON.stringify(body));
  }

  /** Breaks the connection off. */
  drop(): void {
    this.#response.destroy();
  }
}

/** An OpenAI-compatible server: it lists its models, and hands every chat to the test. */
export class FakeOpenAi {
  readonly url: URL;
  models: string[] = ["llama3.2", "qwen3"];
  /** The status of `GET /models`. */
  status = 200;
  modelsAsked = 0;
  readonly #server: Server;
  readonly #chats = new Mailbox<ChatRequest>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
    server.on("request", (request, response) => void this.#onRequest(request, response));
  }

  static async start(port = 0): Promise<FakeOpenAi> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return new FakeOpenAi(server);
  }

  chat(): Promise<ChatRequest> {
    return this.#chats.take();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === "/v1/models") {
      this.modelsAsked += 1;
      response.writeHead(this.status, { "content-type": "application/json" });
      const data = this.models.map((id) => ({ id, object: "model", created: 0, owned_by: "me" }));
      response.end(JSON.stringify(this.status === 200 ? { object: "list", data } : NOT_NOW));
      return;
    }
    const body = JSON.parse(await textOf(request)) as JsonObject;
    if (request.url === "/v1/chat/completions") {
      this.#chats.put(new ChatRequest(body, request, response));
      return;
    }
    if (request.url === "/v1/embeddings") {
      const data = [{ object: "embedding", index: 0, embedding: [0.5, -0.25] }];
      const usage = { prompt_tokens: 2, total_tokens: 2 };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ object: "list", data, model: body.model, usage }));
      return;
    }
    response.writeHead(404).end("404 page not found");
  }
}

const NOT_NOW = { error: { message: "Loading model", type: "unavailable_error", code: 503 } };

export async function textOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}
