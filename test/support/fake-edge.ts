import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { z } from "zod";
import { decodeFrames } from "../../src/protocol/codec.ts";
import {
  type EdgeFrame,
  type JobFrame,
  type RegisterFrame,
  WORKER_PROTOCOL,
  type WorkerFrame,
  type workerFile,
  workerFrame,
} from "../../src/protocol/worker-frames.ts";

type HelloFrame = Extract<EdgeFrame, { type: "hello" }>;
type RegisteredFrame = Extract<EdgeFrame, { type: "registered" }>;
type WorkerFrameOf<T extends WorkerFrame["type"]> = Extract<WorkerFrame, { type: T }>;

export const SPACE = "echo";
export const TOKEN = "worker-token-for-tests";
export const JOB_ID = `${SPACE}.01JZZZZZZZZZZZZZZZZZZZZZZZ`;

/** A queue whose reader waits for the next item: `take` resolves when there is one. */
export class Mailbox<T> {
  readonly #items: T[] = [];
  readonly #takers: ((item: T) => void)[] = [];

  put(item: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#items.push(item);
    else taker(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  get waiting(): readonly T[] {
    return this.#items;
  }
}

/** The edge's end of one worker's socket. It sends only the frames that a test gives it, and pongs. */
export class EdgeConnection {
  readonly headers: IncomingMessage["headers"];
  readonly path: string;
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  readonly #frames = new Mailbox<WorkerFrame | Error>();
  readonly #pings = new Mailbox<"ping">();
  /** How many messages have arrived, not counting pings. */
  messages = 0;
  /** Whether pings are answered. */
  answersPings = true;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.#socket = socket;
    this.headers = request.headers;
    this.path = request.url ?? "";
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => this.#receive(data.toString()));
  }

  #receive(text: string): void {
    if (text === "ping") {
      this.#pings.put("ping");
      if (this.answersPings) this.#socket.send("pong");
      return;
    }
    this.messages += 1;
    for (const decoded of decodeFrames(text, workerFrame)) {
      this.#frames.put(decoded.ok ? decoded.frame : new Error(`${decoded.message}: ${text}`));
    }
  }

  async any(): Promise<WorkerFrame> {
    const frame = await this.#frames.take();
    if (frame instanceof Error) throw frame;
    return frame;
  }

  /** Returns the next frame; throws if it has another type. */
  async next<T extends WorkerFrame["type"]>(type: T): Promise<WorkerFrameOf<T>> {
    const frame = await this.any();
    if (frame.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(frame)}`);
    return frame as WorkerFrameOf<T>;
  }

  /** Returns all frames up to and including the next one of this type. */
  async until(type: WorkerFrame["type"]): Promise<WorkerFrame[]> {
    const frames: WorkerFrame[] = [];
    do {
      frames.push(await this.any());
    } while (frames.at(-1)?.type !== type);
    return frames;
  }

  ping(): Promise<"ping"> {
    return this.#pings.take();
  }

  /** Frames that arrived and no test has read. */
  get unread(): readonly (WorkerFrame | Error)[] {
    return this.#frames.waiting;
  }

  send(frame: EdgeFrame): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  /** Does the whole handshake; returns the worker's `register`. */
  async welcome(
    hello: Partial<HelloFrame> = {},
    registered: Partial<RegisteredFrame> = {},
  ): Promise<RegisterFrame> {
    this.hello(hello);
    const register = await this.next("register");
    this.registered(registered);
    return register;
  }

  hello(fields: Partial<HelloFrame> = {}): void {
    this.send({
      type: "hello",
      protocol: WORKER_PROTOCOL,
      space: SPACE,
      heartbeat_s: 30,
      lease_s: 90,
      max_frame_bytes: 1_048_576,
      batch: false,
      ...fields,
    });
  }

  registered(fields: Partial<RegisteredFrame> = {}): void {
    const config = {
      concurrency: 1,
      job_timeout_s: 120,
      first_output_timeout_s: null,
      stall_timeout_s: null,
      reconnect_grace_s: 15,
    };
    this.send({
      type: "registered",
      generation: 1,
      config,
      resumed: [],
      dropped: [],
      ...fields,
    });
  }

  /** Sends a job and reads the worker's `accept`. */
  async dispatch(fields: Partial<JobFrame> = {}): Promise<JobFrame> {
    const job = jobFrame(fields);
    this.send(job);
    await this.next("accept");
    return job;
  }

  ack(ref: { job_id: string; attempt: number }, of: "result" | "fail" | "reject"): void {
    this.send({ type: "ack", job_id: ref.job_id, attempt: ref.attempt, of });
  }

  error(code: string, message: string): void {
    this.send({ type: "error", code, message });
  }

  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Cuts the connection without a closing handshake, like a pulled cable. */
  drop(): void {
    this.#socket.terminate();
  }
}

export function jobFrame(fields: Partial<JobFrame> = {}): JobFrame {
  const now = Date.now();
  return {
    type: "job",
    job_id: JOB_ID,
    attempt: 1,
    input: { prompt: "hello" },
    files: [],
    priority: 0,
    deadline: new Date(now + 120_000).toISOString(),
    created_at: new Date(now).toISOString(),
    user: null,
    ...fields,
  };
}

/** The field of a job's frame that says where its output files go. */
export const OUTPUTS = { url: "/outputs/{name}?signature=s", max_bytes: 1_000_000_000 };

/** A server for `dialout.worker.v1` on real sockets. It sends only what a test gives it. */
export class FakeEdge {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => WORKER_PROTOCOL,
  });
  readonly #connections = new Mailbox<EdgeConnection>();
  /** Answers for the next upgrades, instead of a socket. */
  readonly #answers: { status: number; headers: string; body: string }[] = [];
  readonly #files = new Map<string, Buffer>();
  /** What was sent to the address of `OUTPUTS`, by name. */
  readonly outputs = new Map<string, { bytes: Buffer; contentType: string }>();
  dials = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => {
      if (request.method === "PUT") {
        void this.#onOutput(request, response);
        return;
      }
      const body = this.#files.get(request.url ?? "");
      response.writeHead(body === undefined ? 404 : 200).end(body);
    });
    server.on("upgrade", (request, socket, head) => {
      this.dials += 1;
      const answer = this.#answers.shift();
      if (answer === undefined) {
        this.#sockets.handleUpgrade(request, socket, head, (accepted) =>
          this.#connections.put(new EdgeConnection(accepted, request)),
        );
        return;
      }
      const { status, headers, body } = answer;
      socket.end(
        `HTTP/1.1 ${status} Refused\r\n${headers}\r\n` +
          `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    });
  }

  static async start(port = 0): Promise<FakeEdge> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return new FakeEdge(server);
  }

  async #onOutput(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = decodeURIComponent(/^\/outputs\/([^?]*)/.exec(request.url ?? "")?.[1] ?? "");
    const pieces: Buffer[] = [];
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    const contentType = request.headers["content-type"] ?? "";
    this.outputs.set(name, { bytes, contentType });
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const stored = { name, content_type: contentType, size: bytes.byteLength, sha256 };
    response.writeHead(201, { "content-type": "application/json" });
    response.end(JSON.stringify(stored));
  }

  connection(): Promise<EdgeConnection> {
    return this.#connections.take();
  }

  /** Answers the next upgrade with a problem (H2). */
  refuse(status: number, detail: string): void {
    const headers = "content-type: application/problem+json";
    this.#answers.push({
      status,
      headers,
      body: JSON.stringify({ status, code: "refused", detail }),
    });
  }

  /** Answers the next upgrade as a proxy does whose edge is away. */
  answerAsProxy(status: number, headers = "content-type: text/html"): void {
    this.#answers.push({ status, headers, body: `<html><h1>${status}</h1></html>` });
  }

  /** Serves a file and returns its entry for a job's `files`; `fields` may give a wrong `size`. */
  serve(
    name: string,
    content: Buffer,
    fields: Partial<z.infer<typeof workerFile>> = {},
  ): z.infer<typeof workerFile> {
    const url = `/files/${this.#files.size}?signature=s`;
    this.#files.set(url, content);
    const size = content.byteLength;
    return { field: "file", name, content_type: "text/plain", size, url, ...fields };
  }

  async close(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
