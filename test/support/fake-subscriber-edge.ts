import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { Mailbox } from "./fake-edge.ts";

export type Frame = { type: string; [field: string]: unknown };
export const AT = "2026-11-01T00:00:00.000Z";

/** The edge's end of one client's socket. A test says every word of it. */
export class FakeSubscriberSocket {
  readonly path: string;
  readonly query: URLSearchParams;
  /** What was offered, in order. */
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
    this.protocols = offered.split(",").map((one) => one.trim());
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

  /** Resolves once the client has read what was sent: WebSocket's own pings keep their place. */
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

  /** The next frame, which has to be of this type. */
  async next(type: string): Promise<Frame> {
    const frame = await this.frames.take();
    if (frame.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  /** Greets as `/ws` does. */
  establish(): void {
    const rooms = ["global", "user:ada"];
    const about = { connection_id: "c", user_id: "ada", rooms, timestamp: AT };
    this.send({ type: "connection.established", ...about });
  }

  /** Answers the next `subscribe`. */
  async subscribed(fields: Record<string, unknown> = {}): Promise<Frame> {
    const asked = await this.next("subscribe");
    const answer = { type: "subscribed", room: asked.room, ref: asked.ref, epoch: "e" };
    this.send({ ...answer, offset: 0, recovered: false, ...fields });
    return asked;
  }

  close(code: number, reason = ""): void {
    this.socket.close(code, reason);
  }

  /** As a cable is pulled: no closing handshake. */
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

/** What a test answers to one request; `drop` cuts the connection instead. */
export type FakeAnswer =
  | { status?: number; body?: unknown; headers?: Record<string, string> }
  | "drop";

/** A server that speaks `dialout.v1` on real sockets, and only what a test tells it to. */
export class FakeSubscriberEdge {
  readonly url: string;
  readonly requests: FakeRequest[] = [];
  answer: (request: FakeRequest) => FakeAnswer = () => problem(404, "not_found");
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
      const asked = { method, path, query, headers, body, json: () => JSON.parse(String(body)) };
      this.requests.push(asked);
      const answer = this.answer(asked);
      if (answer === "drop") {
        request.socket.destroy();
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

  /** It ends with the test. */
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

  /** Sockets that were opened and not asked for. */
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
