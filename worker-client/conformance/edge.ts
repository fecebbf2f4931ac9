import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { WORKER_PROTOCOL } from "../../src/protocol/worker-frames.ts";
import { EdgeSocket } from "./edge-socket.ts";
import { SPACE } from "./frames.ts";
import type { RuleId } from "./rules.ts";

/** What answers a dial instead of a socket. */
export type Answer =
  | { type: "problem"; status: number; code: string; detail: string }
  /** As a proxy, a captive portal or another server answers. */
  | { type: "page"; status: number; headers?: Record<string, string> }
  | { type: "reset" };

export interface Dial {
  at: number;
  request: IncomingMessage;
}

export type Route = (request: IncomingMessage, response: ServerResponse) => void;

interface EdgeDeps {
  token: string;
  patienceMs: number;
  onBroken(rule: RuleId, why: string): void;
}

/** A server for `dialout.worker.v1` on a port of its own. It does only what a scenario says. */
export class ConformanceEdge {
  readonly url: string;
  readonly dials: Dial[] = [];
  readonly sockets: EdgeSocket[] = [];
  /** Requests that are no dials go to the first of these whose path they begin with. */
  readonly routes = new Map<string, Route>();
  readonly #server: Server;
  readonly #deps: EdgeDeps;
  readonly #answers: Answer[] = [];
  readonly #upgrades = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(WORKER_PROTOCOL) ? WORKER_PROTOCOL : false),
  });
  /** The worker has ended, so that nothing more will come. */
  isOver = false;
  #taken = 0;
  #wake: () => void = () => {};

  private constructor(server: Server, deps: EdgeDeps) {
    this.#server = server;
    this.#deps = deps;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#upgrades.on("headers", (headers) => headers.push(`date: ${new Date().toUTCString()}`));
    server.on("request", (request, response) => this.#onRequest(request, response));
    server.on("upgrade", (request, socket, head) => this.#onUpgrade(request, socket, head));
  }

  static async start(deps: EdgeDeps): Promise<ConformanceEdge> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    return new ConformanceEdge(server, deps);
  }

  /** Answers the next dials that have no answer yet, one after the other. */
  answerNext(...answers: Answer[]): void {
    this.#answers.push(...answers);
  }

  /** The next connection; `null` if none comes in time. */
  async nextSocket(ms: number): Promise<EdgeSocket | null> {
    await this.untilTrue(() => this.sockets.length > this.#taken, ms);
    const socket = this.sockets[this.#taken];
    if (socket === undefined) return null;
    this.#taken += 1;
    return socket;
  }

  /** Whether the worker has dialed `count` times by then. */
  untilDialed(count: number, ms: number): Promise<boolean> {
    return this.untilTrue(() => this.dials.length >= count, ms);
  }

  async untilTrue(condition: () => boolean, ms: number): Promise<boolean> {
    const until = Date.now() + ms;
    while (!condition() && !this.isOver && Date.now() < until) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, until - Date.now()));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return condition();
  }

  /** To be called when something has changed that a condition may wait for. */
  wake(): void {
    this.#wake();
  }

  async close(): Promise<void> {
    for (const client of this.#upgrades.clients) client.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    const [, route] = [...this.routes].find(([start]) => path.startsWith(start)) ?? [];
    if (route === undefined) response.writeHead(404).end();
    else route(request, response);
    this.wake();
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {});
    this.dials.push({ at: Date.now(), request });
    this.#checkDial(request);
    const answer = this.#answers.shift();
    if (answer === undefined) {
      this.#upgrades.handleUpgrade(request, socket, head, (accepted) => {
        const { onBroken, patienceMs } = this.#deps;
        this.sockets.push(new EdgeSocket(accepted, { request, raw: socket, onBroken, patienceMs }));
        this.wake();
      });
      return;
    }
    if (answer.type === "reset") (socket as Socket).resetAndDestroy();
    else socket.end(textOf(answer));
    this.wake();
  }

  #checkDial({ url = "", headers }: IncomingMessage): void {
    const { token, onBroken } = this.#deps;
    const address = new URL(url, "http://edge");
    const path = `/api/spaces/${SPACE}/connect`;
    if (address.pathname !== path) onBroken("W1", `it dialed ${address.pathname}, not ${path}`);
    const offered = (headers["sec-websocket-protocol"] ?? "").split(/, */);
    const isSent =
      headers.authorization === undefined
        ? address.searchParams.get("token") === token || offered.includes(`dialout.token.${token}`)
        : headers.authorization === `Bearer ${token}`;
    if (!isSent) onBroken("W2", "the dial had no token, or another one than was given");
  }
}

function textOf(answer: Exclude<Answer, { type: "reset" }>): string {
  const { status } = answer;
  const isProblem = answer.type === "problem";
  const body = isProblem
    ? JSON.stringify({ ...answer, type: "about:blank", title: "Refused" })
    : `<!doctype html><h1>${status}</h1>`;
  const headers = {
    "content-type": isProblem ? "application/problem+json" : "text/html",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
    ...(isProblem ? {} : answer.headers),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} Refused`, ...lines, "", body].join("\r\n");
}
