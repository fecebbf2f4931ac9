import ReconnectingWebSocket, { CloseEvent as PartySocketClose } from "partysocket/ws";
import { z } from "zod";
import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { CLOSE, shouldReconnect } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import { isFinal } from "./answer.ts";
import type { Edge } from "./edge.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { encodeJson } from "./json-body.ts";

export interface SocketHandlers {
  /** The edge's first frame arrived; called again after every reconnect. */
  onOpen(): void;
  onFrame(frame: JsonObject): void;
  /**
   * The connection broke, or a dial failed, and it will be dialed again; `error` is the reason, if it is known.
   * Called again with the reason once it has been found out over HTTP.
   */
  onDisconnect(error: DialoutError | null): void;
  /** The socket is closed for good; `null` if the edge had nothing more to send. */
  onClose(error: DialoutError | null): void;
}

export interface DialTarget {
  /** Called before each dial, because the position to resume from changes. */
  address(): URL;
  /**
   * Requests the same resource over HTTP, because a failed WebSocket handshake gives scripts no reason. If the
   * edge refuses it for good, so does the socket. Without it only the reason of passing failures is found out.
   */
  probe?(): Promise<unknown>;
  /** After this much silence a `ping` is sent, after as much again the connection is dead; milliseconds. */
  heartbeatMs?: number;
}

/** After this long without its first frame, what answers is no edge. */
const GREETING_MS = 15_000;
/** How a socket that could not be opened is asked about over HTTP: once, because it is dialed again anyway. */
export const PROBE = { retry: "never", timeout: 5_000 } as const;
const GREETINGS = ["connection", "connection.established"];
/** Characters allowed in a WebSocket subprotocol, and so in a token that is sent as one. */
const PROTOCOL_TEXT = /^[\w!#$%&'*+.^`|~-]+$/;

/** One socket to the edge. It reconnects until the edge closes it with a final close code. */
export class EdgeSocket {
  readonly #edge: Edge;
  readonly #handlers: SocketHandlers;
  readonly #target: DialTarget;
  readonly #socket: ReconnectingWebSocket;
  readonly #heartbeat: Heartbeat;
  #greeting: ReturnType<typeof setTimeout> | undefined;
  #greeted = false;
  #isOver = false;
  #isProbing = false;
  #hasToken = false;
  /** Whether `#onClose` was called for the current dial. */
  #isCloseHandled = false;
  /** The token of the current connection, and how many tokens in a row the edge refused. */
  #token: string | null = null;
  #refusals = 0;
  /** The last error frame of this connection; it explains the close that follows. */
  #lastError: { code: string; message: string } | null = null;

  constructor(edge: Edge, target: DialTarget, handlers: SocketHandlers) {
    edge.requireWebSocket();
    this.#edge = edge;
    this.#target = target;
    this.#handlers = handlers;
    this.#heartbeat = new Heartbeat(
      { ping: () => this.#socket.send("ping"), onDead: () => this.redial() },
      target.heartbeatMs ?? edge.heartbeatMs,
    );
    this.#socket = new ReconnectingWebSocket(
      () => target.address().href,
      () => this.#protocols(),
      {
        WebSocket: edge.WebSocket,
        // Each client waits a different time, so that they don't all reconnect at once.
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
    this.#socket.onerror = () => this.#onError();
    globalThis.addEventListener?.("online", this.redial);
    globalThis.addEventListener?.("offline", this.redial);
  }

  /**
   * Drops the frame if the socket is not open: after a reconnect the caller sends its current state. Returns
   * whether it was sent.
   */
  send(frame: object): boolean {
    if (this.#isOver || this.#socket.readyState !== ReconnectingWebSocket.OPEN) return false;
    return this.#socket.send(encodeJson(frame));
  }

  readonly redial = (): void => {
    if (!this.#isOver) this.#socket.reconnect();
  };

  close(): void {
    this.#end();
  }

  async #protocols(): Promise<string[]> {
    this.#hasToken = false;
    this.#isCloseHandled = false;
    try {
      this.#token = await this.#edge.tokens.current();
      this.#hasToken = true;
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
    // Without any text from this side the connection would end seconds after the edge has closed it (decision 0037).
    this.#socket.send("ping");
    this.#heartbeat.start();
    clearTimeout(this.#greeting);
    this.#greeting = setTimeout(() => {
      const message = "What answers at this address opens a WebSocket, but is not an edge.";
      this.#handlers.onDisconnect(new DialoutError("not_an_edge", message));
      this.redial();
    }, GREETING_MS);
  }

  #onMessage(data: unknown): void {
    this.#heartbeat.onReceive();
    if (typeof data !== "string" || data === "pong") return;
    const parsed = parseJson(
      data,
      LIMITS.jsonDepth + 8,
      this.#edge.parse as (text: string) => Json,
    );
    if (parsed.ok) this.#handleFrame(parsed.value);
  }

  #handleFrame(frame: Json): void {
    if (this.#isOver || typeof frame !== "object" || frame === null || Array.isArray(frame)) return;
    const { type, code, message, frames } = frame;
    if (type === "read_check") {
      // It comes after what it asks about, and that was handled: the edge cuts off who doesn't read (C18).
      this.send(frame);
      return;
    }
    if (type === "batch" && Array.isArray(frames)) {
      for (const inner of frames) this.#handleFrame(inner);
      return;
    }
    if (type === "sending" && typeof frame.bytes === "number") {
      this.#heartbeat.onAnnounce(frame.bytes);
      return;
    }
    if (typeof type === "string" && GREETINGS.includes(type) && !this.#greeted) {
      this.#greeted = true;
      clearTimeout(this.#greeting);
      this.#refusals = 0;
      this.#handlers.onOpen();
    }
    if ((type === "error" || type === "connection.error") && typeof code === "string") {
      this.#lastError = { code, message: String(message ?? code) };
    }
    this.#handlers.onFrame(frame);
  }

  /** partysocket calls this before `#onClose`, and with a close event of its own if a dial failed. */
  #shouldRedial(close: { code: number }): boolean {
    if (this.#isOver) return false;
    if (close instanceof PartySocketClose || shouldReconnect(close.code)) return true;
    if (close.code !== CLOSE.notAuthenticated.code || !this.#edge.tokens.canRenew) return false;
    // The token may have expired. If a fresh one is refused too, dialing again would not help.
    this.#refusals += 1;
    this.#edge.tokens.refuse(this.#token);
    return this.#refusals === 1;
  }

  /**
   * Comes after `#onClose`, or alone if there was nothing to close: the browser does not let this page open the
   * socket.
   */
  #onError(): void {
    if (this.#isOver || this.#isCloseHandled || !this.#hasToken) return;
    this.#handlers.onDisconnect(null);
    void this.#probeForRefusal();
  }

  #onClose(close: { code: number; reason: string }): void {
    this.#heartbeat.stop();
    clearTimeout(this.#greeting);
    if (this.#isOver) return;
    this.#isCloseHandled = true;
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
    if (this.#isProbing) return;
    this.#isProbing = true;
    const { probe } = this.#target;
    const refusal = await this.#edge.refusalFor(probe ?? (() => this.#probeEdge()));
    this.#isProbing = false;
    if (this.#isOver || this.#greeted) return;
    if (refusal === null || (probe === undefined && isFinal(refusal))) {
      const message =
        "The edge answers, but no WebSocket to it could be opened: something in between may not let it through.";
      this.#handlers.onDisconnect(new DialoutError("socket_refused", message));
    } else if (probe !== undefined && isFinal(refusal)) this.#finish(refusal);
    else this.#handlers.onDisconnect(refusal);
  }

  /** There is nothing here, which an edge says with a problem of its own, also to pages of other origins (H9). */
  #probeEdge(): Promise<unknown> {
    return this.#edge.http.call({ path: "/api", ...PROBE }, z.unknown());
  }

  #finish(error: DialoutError | null): void {
    if (this.#isOver) return;
    this.#end();
    this.#handlers.onClose(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#heartbeat.stop();
    clearTimeout(this.#greeting);
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

/** The error code for a close that no error frame explained. */
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
