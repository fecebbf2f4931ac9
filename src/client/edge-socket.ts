import ReconnectingWebSocket, { CloseEvent as PartySocketClose } from "partysocket/ws";
import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { CLOSE, shouldReconnect } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import type { Edge } from "./edge.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import { refusalFor } from "./http.ts";

/** `lost`: it is dialed again. `closed`: it is not. */
export type LinkState = "connecting" | "open" | "lost" | "closed";

export interface SocketHandlers {
  /** The edge has greeted; again after every reconnect. */
  onOpen(): void;
  onFrame(frame: JsonObject): void;
  /** `error`: why, where that is known. */
  onDisconnect(error: DialoutError | null): void;
  /** It is not dialed again; `null`: the edge is done. */
  onClose(error: DialoutError | null): void;
}

export interface DialTarget {
  /** Asked before each dial. */
  address(): URL;
  /** Asks over HTTP for what is dialed: a failed handshake gives scripts no reason. */
  probe?(): Promise<unknown>;
}

/** Some silence is normal; after this a `ping` goes out, and after as long again the socket is dead. */
const HEARTBEAT_MS = 20_000;
const GREETINGS = ["connection", "connection.established"];
/** What a subprotocol may be made of, and so a token that travels as one. */
const PROTOCOL_TEXT = /^[\w!#$%&'*+.^`|~-]+$/;

/** One socket to the edge, dialed again until the edge says not to. */
export class EdgeSocket {
  readonly #edge: Edge;
  readonly #handlers: SocketHandlers;
  readonly #target: DialTarget;
  readonly #socket: ReconnectingWebSocket;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #hasReceived = false;
  #greeted = false;
  #isOver = false;
  #isProbing = false;
  /** The token that was sent, and how often in a row the edge refused one. */
  #token: string | null = null;
  #refusals = 0;
  /** What an error frame said before a close. */
  #lastError: { code: string; message: string } | null = null;

  constructor(edge: Edge, target: DialTarget, handlers: SocketHandlers) {
    if (edge.WebSocket === undefined && globalThis.WebSocket === undefined) {
      const message = "There is no WebSocket here: give the client one, such as that of `ws`.";
      throw new DialoutError("no_websocket", message);
    }
    this.#edge = edge;
    this.#target = target;
    this.#handlers = handlers;
    this.#socket = new ReconnectingWebSocket(
      () => target.address().href,
      () => this.#protocols(),
      {
        WebSocket: edge.WebSocket,
        // Another spread for every client, so that they don't all come back at once.
        minReconnectionDelay: 250 + Math.random() * 500,
        maxReconnectionDelay: 8_000 + Math.random() * 4_000,
        reconnectionDelayGrowFactor: 1.6,
        connectionTimeout: 10_000,
        maxEnqueuedMessages: 0,
        shouldReconnectOnClose: (close) => this.#shouldRedial(close),
      },
    );
    this.#socket.onopen = () => this.#onOpen();
    this.#socket.onmessage = (message) => this.#onMessage(message.data);
    this.#socket.onclose = (close) => this.#onClose(close);
    globalThis.addEventListener?.("online", this.redial);
    globalThis.addEventListener?.("offline", this.redial);
  }

  /** What can't be sent now is never sent later: whoever sends knows what to say after a reconnect. */
  send(frame: object): void {
    if (!this.#isOver && this.#socket.readyState === ReconnectingWebSocket.OPEN) {
      this.#socket.send(JSON.stringify(frame));
    }
  }

  readonly redial = (): void => {
    if (!this.#isOver) this.#socket.reconnect();
  };

  close(): void {
    this.#end();
  }

  async #protocols(): Promise<string[]> {
    try {
      this.#token = await this.#edge.tokens.current();
    } catch (error) {
      if (!this.#isOver) this.#handlers.onDisconnect(asDialoutError(error, "invalid_token"));
      // partysocket dials again after a while.
      throw error;
    }
    if (this.#token === null) return [SUBSCRIBER_PROTOCOL];
    if (!PROTOCOL_TEXT.test(this.#token)) {
      const message = "The token has characters that can't be sent when a socket is opened.";
      this.#finish(new DialoutError("invalid_token", message));
    }
    return [SUBSCRIBER_PROTOCOL, `dialout.token.${this.#token}`];
  }

  #onOpen(): void {
    this.#hasReceived = true;
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      if (!this.#hasReceived) return this.redial();
      this.#hasReceived = false;
      this.#socket.send("ping");
    }, HEARTBEAT_MS);
  }

  #onMessage(data: unknown): void {
    this.#hasReceived = true;
    if (typeof data !== "string" || data === "pong") return;
    const parsed = parseJson(data, LIMITS.jsonDepth + 8);
    if (parsed.ok) this.#handleFrame(parsed.value);
  }

  #handleFrame(frame: Json): void {
    if (this.#isOver || typeof frame !== "object" || frame === null || Array.isArray(frame)) return;
    const { type, code, message, frames } = frame;
    if (type === "batch" && Array.isArray(frames)) {
      for (const inner of frames) this.#handleFrame(inner);
      return;
    }
    if (typeof type === "string" && GREETINGS.includes(type) && !this.#greeted) {
      this.#greeted = true;
      this.#refusals = 0;
      this.#handlers.onOpen();
    }
    if ((type === "error" || type === "connection.error") && typeof code === "string") {
      this.#lastError = { code, message: String(message ?? code) };
    }
    this.#handlers.onFrame(frame);
  }

  /** Called before `#onClose`, with the same close. partysocket makes one of its own where a dial fails. */
  #shouldRedial(close: { code: number }): boolean {
    if (this.#isOver) return false;
    if (close instanceof PartySocketClose || shouldReconnect(close.code)) return true;
    if (close.code !== CLOSE.notAuthenticated.code || !this.#edge.tokens.canRenew) return false;
    // A token may have run out; a fresh one that is refused as well is refused for good.
    this.#refusals += 1;
    this.#edge.tokens.refuse(this.#token);
    return this.#refusals === 1;
  }

  #onClose(close: { code: number; reason: string }): void {
    clearInterval(this.#heartbeat);
    if (this.#isOver) return;
    const wasGreeted = this.#greeted;
    const lastError = this.#lastError;
    this.#greeted = false;
    this.#lastError = null;
    if (!this.#socket.shouldReconnect) {
      this.#finish(close.code === CLOSE.done.code ? null : errorOf(close, lastError));
      return;
    }
    this.#handlers.onDisconnect(lastError === null ? null : errorOf(close, lastError));
    if (!wasGreeted) void this.#probeForRefusal();
  }

  async #probeForRefusal(): Promise<void> {
    if (this.#isProbing || this.#target.probe === undefined) return;
    this.#isProbing = true;
    const refusal = await refusalFor(this.#target.probe);
    this.#isProbing = false;
    if (refusal !== null && !this.#greeted) this.#finish(refusal);
  }

  #finish(error: DialoutError | null): void {
    if (this.#isOver) return;
    this.#end();
    this.#handlers.onClose(error);
  }

  #end(): void {
    this.#isOver = true;
    clearInterval(this.#heartbeat);
    globalThis.removeEventListener?.("online", this.redial);
    globalThis.removeEventListener?.("offline", this.redial);
    this.#socket.close();
  }
}

function errorOf(
  { code, reason }: { code: number; reason: string },
  lastError: { code: string; message: string } | null,
): DialoutError {
  const message = lastError?.message ?? (reason || `The edge closed the socket with ${code}.`);
  return new DialoutError(lastError?.code ?? codeOf(code), message);
}

/** A close without an error frame before it. */
function codeOf(closeCode: number): string {
  switch (closeCode) {
    case CLOSE.notAuthenticated.code:
      return "not_authenticated";
    case CLOSE.notAllowed.code:
      return "not_allowed";
    case CLOSE.notFound.code:
      return "not_found";
    default:
      return "connection_closed";
  }
}
