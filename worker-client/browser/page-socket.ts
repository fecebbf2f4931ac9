import { byteLength } from "../../src/protocol/codec.ts";
import { WORKER_PROTOCOL } from "../../src/protocol/worker-frames.ts";
import { connectAddress, type LinkTarget, MAX_RECEIVED_BYTES } from "../link.ts";
import type { Transport, TransportEnd, TransportEvents } from "../platform.ts";
import { whyRefused } from "./refusal-probe.ts";

const HANDSHAKE_MS = 15_000;
const CLOSE_MS = 1_000;
/** What a connection that broke without a close frame is closed with. */
const BROKEN = { type: "closed", code: 1006, reason: "" } as const;

/**
 * The WebSocket of a worker in a page. The token is sent as a subprotocol: pages can't set headers, and an address is
 * written to logs (W2a).
 */
export class PageSocket implements Transport {
  readonly seesParts = false;
  readonly #target: LinkTarget;
  readonly #events: TransportEvents;
  #socket: WebSocket | null = null;
  #isOver = false;
  #wasOpen = false;
  #receivedBytes = 0;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(target: LinkTarget, events: TransportEvents) {
    this.#target = target;
    this.#events = events;
    this.#timer = setTimeout(() => this.#onNoAnswer(), HANDSHAKE_MS);
    try {
      const protocols = [WORKER_PROTOCOL, `dialout.token.${target.token}`];
      const socket = new WebSocket(connectAddress(target), protocols);
      socket.onopen = () => this.#onOpen();
      socket.onmessage = ({ data }) => this.#onMessage(data);
      socket.onclose = ({ code, reason }) => void this.#onClose(code, reason);
      this.#socket = socket;
    } catch (error) {
      // A page that came over HTTPS may open no socket without TLS.
      const message = error instanceof Error ? error.message : String(error);
      queueMicrotask(() => this.#end({ type: "unreachable", message }));
    }
  }

  get isOpen(): boolean {
    return !this.#isOver && this.#socket?.readyState === WebSocket.OPEN;
  }

  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  close(code: number): void {
    this.#socket?.close(code);
    setTimeout(() => this.terminate(), CLOSE_MS);
  }

  terminate(): void {
    // Without a code the edge keeps the attempts for a while, as after a break (W28a).
    this.#socket?.close();
    queueMicrotask(() => this.#end(BROKEN));
  }

  #onOpen(): void {
    clearTimeout(this.#timer);
    this.#wasOpen = true;
    if (!this.#isOver) this.#events.onOpen(null);
  }

  #onMessage(data: unknown): void {
    if (this.#isOver) return;
    const text = typeof data === "string" ? data : null;
    const bytes = text === null ? 0 : byteLength(text);
    this.#receivedBytes += bytes;
    if (bytes > MAX_RECEIVED_BYTES) this.terminate();
    else this.#events.onMessage(text, bytes);
  }

  async #onClose(code: number, reason: string): Promise<void> {
    if (this.#isOver) return;
    if (this.#wasOpen) this.#end({ type: "closed", code, reason });
    // A script is not told why a handshake failed, so this asks over HTTP.
    else this.#end(await whyRefused(this.#target));
  }

  #onNoAnswer(): void {
    this.#socket?.close();
    this.#end({ type: "unreachable", message: `no answer from ${new URL(this.#target.url).host}` });
  }

  #end(end: TransportEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#events.onEnd(end);
  }
}
