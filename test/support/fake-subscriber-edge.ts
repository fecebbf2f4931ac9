import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { Mailbox } from "./fake-edge.ts";

export type Frame = { type: string; [field: string]: unknown };
export const AT = "2026-11-01T00:00:00.000Z";

/** The edge's end of one client's socket. It sends only the frames that a test gives it, and pongs. */
export class FakeSubscriberSocket {
  readonly path: string;
  readonly query: URLSearchParams;
  /** The subprotocols the client offered, in order. */
  readonly protocols: string[];
  readonly closed: Promise<number>;
  /** Whether pings are answered. */
  answersPings = true;
  pings = 0;
  private readonly socket: WebSocket;
  private readonly frames = new Mailbox<Frame>();

  constructor(socket: WebSocket, request: IncomingMessage) {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://edge");
    this.path = pathname;
    this.query = searchParams;
    const offered = request.headers["sec-websocket-protocol"] ?? "";
    this.protocols = offered.split(",").map((protocol) => protocol.trim());
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => {
      if (String(data) !== "ping") this.frames.put(JSON.parse(String(data)) as Frame);
      else {
        this.pings += 1;
        if (this.answersPings) socket.send("pong");
      }
    });
  }

  /** Resolves once the client has read all frames sent so far: a WebSocket ping keeps its place. */
  async read(): Promise<void> {
    this.socket.ping();
    await new Promise((resolve) => this.socket.once("pong", resolve));
  }

  send(...frames: Frame[]): void {
    for (const frame of frames) this.socket.send(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.socket.send(text);
  }

  any(): Promise<Frame> {
    return this.frames.take();
  }

  /** Frames that arrived and no test has read. */
  get unread(): number {
    return this.frames.waiting.length;
  }

  /** Returns the next frame; throws if it has another type. */
  async next(type: string): Promise<Frame> {
    const frame = await this.any();
    if (frame.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  /** Sends the first frame of `/ws` (R3). */
  establish(): void {
    const rooms = ["global", "user:ada"];
    const about = { connection_id: "c", user_id: "ada", rooms, timestamp: AT };
    this.send({ type: "connection.established", ...about });
  }

  /** Waits for the next `subscribe` and answers it with `subscribed`. */
  async subscribed(fields: Record<string, unknown> = {}): Promise<Frame> {
    const request = await this.next("subscribe");
    const answer = { type: "subscribed", room: request.room, ref: request.ref, epoch: "e" };
    this.send({ ...answer, offset: 0, recovered: false, ...fields });
    return request;
  }

  close(code: number, reason = ""): void {
    this.socket.close(code, reason);
  }

  /** Cuts the connection without a closing handshake, like a pulled cable. */
  drop(): void {
    this.socket.terminate();
  }
}

export interface FakeRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: Buffer;
  json(): Record<string, unknown>;
}

/** The answer to one request, as JSON or as a page of another server; `drop` cuts the connection instead. */
export type FakeAnswer =
  | { status?: number; body?: unknown; headers?: Record<string, string> }
  | { status?: number; html: string }
  | "drop"
  | "hang";

/** A server for `dialout.v1` on real sockets. It sends only what a test gives it. */
export class FakeSubscriberEdge {
  readonly url: string;
  readonly requests: FakeRequest[] = [];
  answer: (request: FakeRequest) => FakeAnswer = () => problem(404, "not_found");
  /** JSON text with which every request is answered, if it is set. */
  text: string | null = null;
  private readonly server: Server;
  private readonly sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => "dialout.v1",
  });
  private readonly accepted = new Mailbox<FakeSubscriberSocket>();
  private readonly refusals: number[] = [];

  private constructor(server: Server) {
    this.server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      const { pathname: path, searchParams: query } = new URL(request.url ?? "", this.url);
      const { method = "", headers } = request;
      const received = { method, path, query, headers, body, json: () => JSON.parse(String(body)) };
      this.requests.push(received);
      if (this.text !== null) {
        response.end(this.text);
        return;
      }
      const answer = this.answer(received);
      if (answer === "hang") return;
      if (answer === "drop") {
        request.socket.destroy();
        return;
      }
      if ("html" in answer) {
        response.writeHead(answer.status ?? 200, { "content-type": "text/html" });
        response.end(answer.html);
        return;
      }
      response.writeHead(answer.status ?? 200, answer.headers);
      response.end(JSON.stringify(answer.body ?? null));
    });
    server.on("upgrade", (request, socket, head) => {
      const refusal = this.refusals.shift();
      if (refusal !== undefined) {
        socket.end(`HTTP/1.1 ${refusal} Refused\r\nconnection: close\r\n\r\n`);
        return;
      }
      this.sockets.handleUpgrade(request, socket, head, (accepted) =>
        this.accepted.put(new FakeSubscriberSocket(accepted, request)),
      );
    });
  }

  /** Starts a server that is closed when the test ends. */
  static async start(): Promise<FakeSubscriberEdge> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const edge = new FakeSubscriberEdge(server);
    onTestFinished(() => edge.close());
    return edge;
  }

  socket(): Promise<FakeSubscriberSocket> {
    return this.accepted.take();
  }

  /** The next upgrade is refused with this status. */
  refuse(status: number): void {
    this.refusals.push(status);
  }

  /** How many sockets clients opened that the test has not taken with `socket()`. */
  get unasked(): number {
    return this.accepted.waiting.length;
  }

  async close(): Promise<void> {
    for (const client of this.sockets.clients) client.terminate();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export function problem(status: number, code: string, detail = ""): FakeAnswer {
  return { status, body: { type: "about:blank", title: code, status, detail, code } };
}
