import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import WebSocket, { type RawData } from "ws";
import { inBatches } from "../src/protocol/batches.ts";
import { readCheckToken } from "../src/protocol/read-check.ts";
import { WORKER_PROTOCOL } from "../src/protocol/worker-frames.ts";
import { describeFailure, describeRefusal } from "./dial-failure.ts";
import { PacedSender } from "./paced-sender.ts";
import type { LinkClose } from "./refusal.ts";
import type { HelloFrame } from "./session.ts";

export interface LinkTarget {
  /** The edge's address, `http:` or `https:`. */
  url: string;
  space: string;
  token: string;
}

export interface LinkEvents {
  /** @param edgeTime the edge's clock, or `null` if the edge did not send a date */
  onOpen(edgeTime: Date | null): void;
  onMessage(data: string | ArrayBuffer): void;
  /** Called for an `error` frame that was not directly followed by a close. */
  onError(error: LinkError): void;
  onClose(close: LinkClose): void;
}

/** One connection to the edge, from dialing to its close. */
export interface EdgeLink {
  send(text: string): void;
  ping(): void;
  /**
   * From now on sends in the way that the edge asks for: the frames of one turn of the event loop as one message, and
   * large messages after an announcement.
   */
  onHello(hello: HelloFrame): void;
  /** Bytes received so far, also those of a message of which the rest is yet to come. */
  readonly bytesReceived: number;
  /** Until when nothing may come from the edge because a large message is under way to it; `performance.now()`. */
  readonly busyUntil: number;
  close(code: number): void;
  /** Drops the connection without a closing handshake; `onClose` follows. */
  terminate(): void;
  /** To be called for an `error` frame: if a close follows directly, the frame becomes its reason. */
  onErrorFrame(error: LinkError): void;
}

export interface LinkError {
  code: string;
  message: string;
}

export interface Traffic {
  bytesIn: number;
  bytesOut: number;
}

/** The largest message that is received. The edge's frames are smaller; this protects memory (C4). */
const MAX_RECEIVED_BYTES = 8 * 1024 * 1024;
/**
 * If more bytes than this are unsent, the edge has stopped reading and the connection is dropped. After the
 * reconnect the worker sends what the edge lacks.
 */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;
const HANDSHAKE_MS = 15_000;
const CLOSE_MS = 1_000;

/** Returns the WebSocket address at which workers of a space connect. */
export function connectAddress(target: Pick<LinkTarget, "url" | "space">): string {
  const address = new URL(target.url);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = "?batch=1";
  address.pathname = `/api/spaces/${target.space}/connect`;
  // `ws` throws for it; people paste addresses with one.
  address.hash = "";
  return address.href;
}

export function dial(target: LinkTarget, traffic: Traffic, events: LinkEvents): EdgeLink {
  return new SocketLink(target, traffic, events);
}

class SocketLink implements EdgeLink {
  readonly #url: string;
  readonly #socket: WebSocket;
  readonly #traffic: Traffic;
  readonly #events: LinkEvents;
  #over = false;
  /** Frames that will go out as one message; `null` if every frame is sent on its own. */
  #unsent: string[] | null = null;
  #unannouncedBytes: number | null = null;
  readonly #sender = new PacedSender({
    write: (message) => this.#write(message),
    unannouncedBytes: () => this.#unannouncedBytes,
  });
  #connection: Socket | null = null;
  #edgeTime: Date | null = null;
  /** The latest `error` frame, until the next event shows whether it explains a close. */
  #error: LinkError | null = null;
  /** The network failure that ended the connection without a closing handshake. */
  #failure: string | null = null;

  constructor(target: LinkTarget, traffic: Traffic, events: LinkEvents) {
    this.#url = target.url;
    this.#traffic = traffic;
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
      .on("message", (data, isBinary) => this.#onMessage(data, isBinary))
      .on("unexpected-response", (_request, response) => void this.#onRefusal(response))
      .on("error", (error) => {
        this.#failure = describeFailure(error, target.url);
      })
      .on("close", (code, reason) => this.#onClose(code, reason.toString()));
  }

  send(text: string): void {
    if (this.#unsent === null) {
      this.#sender.send(text);
      return;
    }
    if (this.#unsent.length === 0) setImmediate(() => this.#flush());
    this.#unsent.push(text);
  }

  ping(): void {
    this.#sender.ping();
  }

  onHello({ batch, unannounced_bytes }: HelloFrame): void {
    if (batch) this.#unsent ??= [];
    this.#unannouncedBytes = unannounced_bytes ?? null;
  }

  get bytesReceived(): number {
    return this.#connection?.bytesRead ?? 0;
  }

  get busyUntil(): number {
    return this.#sender.busyUntil;
  }

  #flush(): void {
    const unsent = this.#unsent ?? [];
    if (unsent.length === 0) return;
    this.#unsent = [];
    for (const message of inBatches(unsent, this.#sender.window)) this.#sender.send(message);
  }

  #write(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_UNSENT_BYTES) {
      this.#failure = "the edge has stopped reading";
      this.terminate();
      return;
    }
    this.#traffic.bytesOut += Buffer.byteLength(text);
    this.#socket.send(text);
  }

  close(code: number): void {
    this.#flush();
    this.#socket.close(code);
    setTimeout(() => this.terminate(), CLOSE_MS).unref();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  onErrorFrame(error: LinkError): void {
    this.#error = error;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#traffic.bytesIn += sizeOf(data);
    this.#reportError();
    const text = isBinary ? null : data.toString();
    if (text === "pong") this.#sender.onPong();
    // The edge hands out no more jobs to a worker that doesn't show that it reads (C18).
    if (text !== null && readCheckToken(text) !== null) this.#write(text);
    // The protocol has no binary frames; the decoder reports any as an error.
    if (!this.#over) this.#events.onMessage(text ?? new ArrayBuffer(0));
  }

  async #onRefusal(response: IncomingMessage): Promise<void> {
    const { isProblem, detail } = await describeRefusal(response, this.#url);
    this.#end({ type: "refused", status: response.statusCode ?? 0, isProblem, detail });
    this.terminate();
  }

  #onClose(code: number, reason: string): void {
    const message = this.#failure;
    if (message === null) {
      this.#end({ type: "closed", code, reason, error: this.#error?.message ?? null });
      return;
    }
    this.#reportError();
    this.#end({ type: "unreachable", message });
  }

  #reportError(): void {
    const error = this.#error;
    this.#error = null;
    if (error !== null) this.#events.onError(error);
  }

  #end(close: LinkClose): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.onClose(close);
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
