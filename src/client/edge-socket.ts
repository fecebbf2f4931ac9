import ReconnectingWebSocket, { CloseEvent as MadeClose } from "partysocket/ws";
import { type Json, type JsonObject, parseJson } from "../protocol/codec.ts";
import { CLOSE, shouldReconnect } from "../protocol/codes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import type { Edge } from "./edge.ts";
import { asDialoutError, DialoutError } from "./errors.ts";
import { refusalFor } from "./http.ts";

/** `lost`: it is dialed again. `closed`: it is not. */
export type LinkState = "connecting" | "open" | "lost" | "closed";

export interface SocketEvents {
  /** The edge has greeted; again after every reconnect. */
  open(): void;
  frame(frame: JsonObject): void;
  /** `error`: why, where that is known. */
  lost(error: DialoutError | null): void;
  /** It is not dialed again; `null`: the edge is done. */
  closed(error: DialoutError | null): void;
}

export interface Dial {
  /** Asked before each dial. */
  address(): URL;
  /** Asks over HTTP for what is dialed: a failed handshake gives scripts no reason. */
  ask?(): Promise<unknown>;
}

/** Some silence is normal; after this a `ping` goes out, and after as long again the socket is dead. */
const BEAT_MS = 20_000;
const GREETINGS = ["connection", "connection.established"];
/** What a subprotocol may be made of, and so a token that travels as one. */
const PROTOCOL_TEXT = /^[\w!#$%&'*+.^`|~-]+$/;

/** One socket to the edge, dialed again until the edge says not to. */
export class EdgeSocket {
  readonly #edge: Edge;
  readonly #events: SocketEvents;
  readonly #dial: Dial;
  readonly #socket: ReconnectingWebSocket;
  #beat: ReturnType<typeof setInterval> | undefined;
  #heard = false;
  #greeted = false;
  #over = false;
  #asking = false;
  /** The token that was sent, and how often in a row the edge refused one. */
  #token: string | null = null;
  #refusals = 0;
  /** What an error frame said before a close. */
  #said: { code: string; message: string } | null = null;

  constructor(edge: Edge, dial: Dial, events: SocketEvents) {
    if (edge.WebSocket === undefined && globalThis.WebSocket === undefined) {
      const message = "There is no WebSocket here: give the client one, such as that of `ws`.";
      throw new DialoutError("no_websocket", message);
    }
    this.#edge = edge;
    this.#dial = dial;
    this.#events = events;
    this.#socket = new ReconnectingWebSocket(
      () => dial.address().href,
      () => this.#protocols(),
      {
        WebSocket: edge.WebSocket,
        // Another spread for every client, so that they don't all come back at once.
        minReconnectionDelay: 250 + Math.random() * 500,
        maxReconnectionDelay: 8_000 + Math.random() * 4_000,
        reconnectionDelayGrowFactor: 1.6,
        connectionTimeout: 10_000,
        maxEnqueuedMessages: 0,
        shouldReconnectOnClose: (close) => this.#mayRedial(close),
      },
    );
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = (message) => this.#received(message.data);
    this.#socket.onclose = (close) => this.#closed(close);
    globalThis.addEventListener?.("online", this.redial);
    globalThis.addEventListener?.("offline", this.redial);
  }

  /** What can't be sent now is never sent later: whoever sends knows what to say after a reconnect. */
  send(frame: object): void {
    if (!this.#over && this.#socket.readyState === ReconnectingWebSocket.OPEN) {
      this.#socket.send(JSON.stringify(frame));
    }
  }

  readonly redial = (): void => {
    if (!this.#over) this.#socket.reconnect();
  };

  close(): void {
    this.#end();
  }

  async #protocols(): Promise<string[]> {
    try {
      this.#token = await this.#edge.tokens.current();
    } catch (error) {
      if (!this.#over) this.#events.lost(asDialoutError(error, "invalid_token"));
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

  #opened(): void {
    this.#heard = true;
    clearInterval(this.#beat);
    this.#beat = setInterval(() => {
      if (!this.#heard) return this.redial();
      this.#heard = false;
      this.#socket.send("ping");
    }, BEAT_MS);
  }

  #received(data: unknown): void {
    this.#heard = true;
    if (typeof data !== "string" || data === "pong") return;
    const parsed = parseJson(data, LIMITS.jsonDepth + 8);
    if (parsed.ok) this.#take(parsed.value);
  }

  #take(frame: Json): void {
    if (this.#over || typeof frame !== "object" || frame === null || Array.isArray(frame)) return;
    const { type, code, message, frames } = frame;
    if (type === "batch" && Array.isArray(frames)) {
      for (const one of frames) this.#take(one);
      return;
    }
    if (typeof type === "string" && GREETINGS.includes(type) && !this.#greeted) {
      this.#greeted = true;
      this.#refusals = 0;
      this.#events.open();
    }
    if ((type === "error" || type === "connection.error") && typeof code === "string") {
      this.#said = { code, message: String(message ?? code) };
    }
    this.#events.frame(frame);
  }

  /** Called before `#closed`, with the same close. partysocket makes one of its own where a dial fails. */
  #mayRedial(close: { code: number }): boolean {
    if (this.#over) return false;
    if (close instanceof MadeClose || shouldReconnect(close.code)) return true;
    if (close.code !== CLOSE.notAuthenticated.code || !this.#edge.tokens.canRenew) return false;
    // A token may have run out; a fresh one that is refused as well is refused for good.
    this.#refusals += 1;
    this.#edge.tokens.refuse(this.#token);
    return this.#refusals === 1;
  }

  #closed(close: { code: number; reason: string }): void {
    clearInterval(this.#beat);
    if (this.#over) return;
    const wasGreeted = this.#greeted;
    const said = this.#said;
    this.#greeted = false;
    this.#said = null;
    if (!this.#socket.shouldReconnect) {
      this.#finish(close.code === CLOSE.done.code ? null : errorOf(close, said));
      return;
    }
    this.#events.lost(said === null ? null : errorOf(close, said));
    if (!wasGreeted) void this.#askWhy();
  }

  async #askWhy(): Promise<void> {
    if (this.#asking || this.#dial.ask === undefined) return;
    this.#asking = true;
    const refusal = await refusalFor(this.#dial.ask);
    this.#asking = false;
    if (refusal !== null && !this.#greeted) this.#finish(refusal);
  }

  #finish(error: DialoutError | null): void {
    if (this.#over) return;
    this.#end();
    this.#events.closed(error);
  }

  #end(): void {
    this.#over = true;
    clearInterval(this.#beat);
    globalThis.removeEventListener?.("online", this.redial);
    globalThis.removeEventListener?.("offline", this.redial);
    this.#socket.close();
  }
}

function errorOf(
  { code, reason }: { code: number; reason: string },
  said: { code: string; message: string } | null,
): DialoutError {
  const message = said?.message ?? (reason || `The edge closed the socket with ${code}.`);
  return new DialoutError(said?.code ?? codeOf(code), message);
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
