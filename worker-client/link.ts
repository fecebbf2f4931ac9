import { transferMs } from "../src/protocol/announcement.ts";
import { inBatches } from "../src/protocol/batches.ts";
import { readCheckToken } from "../src/protocol/read-check.ts";
import { byteLength } from "./byte-length.ts";
import { PacedSender } from "./paced-sender.ts";
import type { Platform, Transport, TransportEnd } from "./platform.ts";
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
  /** To be called when the edge announces a large message. */
  onAnnounce(bytes: number): void;
  /** Bytes received so far, also those of a message of which the rest is yet to come. */
  readonly bytesReceived: number;
  /** Until when nothing may come from the edge because a large message is under way; `performance.now()`. */
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
export const MAX_RECEIVED_BYTES = 8 * 1024 * 1024;
/**
 * If more bytes than this are unsent, the edge has stopped reading and the connection is dropped. After the
 * reconnect the worker sends what the edge lacks.
 */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

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

export function dial(
  target: LinkTarget,
  platform: Pick<Platform, "open" | "afterTurn">,
  traffic: Traffic,
  events: LinkEvents,
): EdgeLink {
  return new SocketLink(target, platform, traffic, events);
}

class SocketLink implements EdgeLink {
  readonly #transport: Transport;
  readonly #platform: Pick<Platform, "afterTurn">;
  readonly #traffic: Traffic;
  readonly #events: LinkEvents;
  #over = false;
  /** Until when an announced message may be arriving. */
  #arrivingUntil = 0;
  /** Frames that will go out as one message; `null` if every frame is sent on its own. */
  #unsent: string[] | null = null;
  #unannouncedBytes: number | null = null;
  readonly #sender = new PacedSender({
    write: (message) => this.#write(message),
    unannouncedBytes: () => this.#unannouncedBytes,
  });
  /** The latest `error` frame, until the next event shows whether it explains a close. */
  #error: LinkError | null = null;
  /** Why this side has dropped the connection. */
  #failure: string | null = null;

  constructor(
    target: LinkTarget,
    platform: Pick<Platform, "open" | "afterTurn">,
    traffic: Traffic,
    events: LinkEvents,
  ) {
    this.#platform = platform;
    this.#traffic = traffic;
    this.#events = events;
    this.#transport = platform.open(target, {
      onOpen: (edgeTime) => events.onOpen(edgeTime),
      onMessage: (text, bytes) => this.#onMessage(text, bytes),
      onEnd: (end) => this.#onEnd(end),
    });
  }

  send(text: string): void {
    if (this.#unsent === null) {
      this.#sender.send(text);
      return;
    }
    if (this.#unsent.length === 0) this.#platform.afterTurn(() => this.#flush());
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
    return this.#transport.receivedBytes;
  }

  get busyUntil(): number {
    return Math.max(this.#sender.busyUntil, this.#arrivingUntil);
  }

  onAnnounce(bytes: number): void {
    if (!this.#transport.seesParts) this.#arrivingUntil = performance.now() + transferMs(bytes);
  }

  #flush(): void {
    const unsent = this.#unsent ?? [];
    if (unsent.length === 0) return;
    this.#unsent = [];
    for (const message of inBatches(unsent, this.#sender.window)) this.#sender.send(message);
  }

  #write(text: string): void {
    if (!this.#transport.isOpen) return;
    if (this.#transport.bufferedBytes > MAX_UNSENT_BYTES) {
      this.#failure = "the edge has stopped reading";
      this.terminate();
      return;
    }
    this.#traffic.bytesOut += byteLength(text);
    this.#transport.send(text);
  }

  close(code: number): void {
    this.#flush();
    this.#transport.close(code);
  }

  terminate(): void {
    this.#transport.terminate();
  }

  onErrorFrame(error: LinkError): void {
    this.#error = error;
  }

  #onMessage(text: string | null, bytes: number): void {
    this.#traffic.bytesIn += bytes;
    this.#arrivingUntil = 0;
    this.#reportError();
    if (text === "pong") this.#sender.onPong();
    // The edge hands out no more jobs to a worker that doesn't show that it reads (C18).
    if (text !== null && readCheckToken(text) !== null) this.#write(text);
    // The protocol has no binary frames; the decoder reports any as an error.
    if (!this.#over) this.#events.onMessage(text ?? new ArrayBuffer(0));
  }

  #onEnd(end: TransportEnd): void {
    if (this.#over) return;
    if (this.#failure === null && end.type === "closed") {
      this.#finish({ ...end, error: this.#error?.message ?? null });
      return;
    }
    this.#reportError();
    const failure = this.#failure;
    if (failure !== null) this.#finish({ type: "unreachable", message: failure });
    else if (end.type !== "closed") this.#finish(end);
  }

  #reportError(): void {
    const error = this.#error;
    this.#error = null;
    if (error !== null) this.#events.onError(error);
  }

  #finish(close: LinkClose): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.onClose(close);
  }
}
