import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import WebSocket, { type RawData } from "ws";
import { WORKER_PROTOCOL } from "../src/protocol/worker-frames.ts";
import { describeFailure, describeRefusal } from "./dial-failure.ts";
import { connectAddress, type LinkTarget, MAX_RECEIVED_BYTES } from "./link.ts";
import type { Transport, TransportEvents } from "./platform.ts";

const HANDSHAKE_MS = 15_000;
const CLOSE_MS = 1_000;

/** The WebSocket of a worker in Node.js. */
export class NodeSocket implements Transport {
  readonly seesParts = true;
  readonly #url: string;
  readonly #socket: WebSocket;
  readonly #events: TransportEvents;
  #connection: Socket | null = null;
  #edgeTime: Date | null = null;
  /** The network failure that ended the connection without a closing handshake. */
  #failure: string | null = null;

  constructor(target: LinkTarget, events: TransportEvents) {
    this.#url = target.url;
    this.#events = events;
    this.#socket = new WebSocket(connectAddress(target), WORKER_PROTOCOL, {
      headers: { authorization: `Bearer ${target.token}` },
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MAX_RECEIVED_BYTES,
      perMessageDeflate: false,
    });
    this.#socket
      .on("upgrade", (response) => {
        this.#edgeTime = dateOf(response);
        this.#connection = response.socket;
      })
      .on("open", () => events.onOpen(this.#edgeTime))
      .on("message", (data, isBinary) =>
        events.onMessage(isBinary ? null : data.toString(), sizeOf(data)),
      )
      .on("unexpected-response", (_request, response) => void this.#onRefusal(response))
      .on("error", (error) => {
        this.#failure = describeFailure(error, target.url);
      })
      .on("close", (code, reason) => this.#onClose(code, reason.toString()));
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  get receivedBytes(): number {
    return this.#connection?.bytesRead ?? 0;
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  close(code: number): void {
    this.#socket.close(code);
    setTimeout(() => this.terminate(), CLOSE_MS).unref();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  async #onRefusal(response: IncomingMessage): Promise<void> {
    const { isProblem, detail } = await describeRefusal(response, this.#url);
    this.#events.onEnd({ type: "refused", status: response.statusCode ?? 0, isProblem, detail });
    this.terminate();
  }

  #onClose(code: number, reason: string): void {
    const message = this.#failure;
    if (message === null) this.#events.onEnd({ type: "closed", code, reason });
    else this.#events.onEnd({ type: "unreachable", message });
  }
}

function sizeOf(data: RawData): number {
  if (!Array.isArray(data)) return data.byteLength;
  return data.reduce((bytes, piece) => bytes + piece.byteLength, 0);
}

function dateOf(response: IncomingMessage): Date | null {
  const date = new Date(response.headers.date ?? "");
  return Number.isNaN(date.getTime()) ? null : date;
}
