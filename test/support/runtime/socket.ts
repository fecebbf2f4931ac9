import { parseExact } from "../../../src/protocol/exact-json.ts";
import { SocketListeners } from "./dialed-socket.ts";

export type Frame = { type: string; [key: string]: unknown };

/** What happens at the client's end of a socket, for the object that has the other end. */
export interface ObjectEvents {
  onMessage(socket: FakeSocket, message: string): void;
  onClose(socket: FakeSocket, code: number, reason: string): void;
  onError(socket: FakeSocket): void;
}

/** What the object does with a socket, for a Worker that has dialed it. */
interface FarEvents {
  onSent(message: string): void;
  onClosed(code: number | undefined, reason: string): void;
}

/** A socket: the object calls the methods that the runtime's sockets have, the test those below them. */
export class FakeSocket {
  /** When the runtime last answered a `ping` here, for the object. */
  pingedAt: Date | null = null;
  tags: string[] = [];
  /** How the object closed it, or the test; `null` while it is open. */
  closed: { code: number | undefined; reason: string } | null = null;
  /** How the object answered the test's close; `null` if it didn't. */
  answered: { code: number | undefined; reason: string } | null = null;
  /** Every message that came from the object, as text. */
  readonly messages: string[] = [];
  private readFrames = 0;
  private events: ObjectEvents | null = null;
  private far: FarEvents | null = null;
  private listeners: SocketListeners | null = null;
  private attachment: unknown = null;

  connect(events: ObjectEvents): void {
    this.events = events;
  }

  // For the object.

  send(message: string): void {
    if (this.closed !== null) throw new TypeError("Can't call WebSocket send() after close().");
    this.put(message);
  }

  close(code?: number, reason = ""): void {
    const isAllowed = code === undefined || code === 1000 || (code >= 3000 && code < 5000);
    const isReserved = code !== undefined && [1001, 1008, 1009, 1011, 1012].includes(code);
    if (!isAllowed && !isReserved) throw new TypeError("Invalid WebSocket close code.");
    if (this.closed !== null) {
      this.answered ??= { code, reason };
      return;
    }
    this.closed = { code, reason };
    this.far?.onClosed(code, reason);
    // The client answers the close, and the object hears of that.
    void Promise.resolve().then(() => this.events?.onClose(this, code ?? 1005, reason));
  }

  serializeAttachment(attachment: unknown): void {
    this.attachment = structuredClone(attachment);
  }

  deserializeAttachment(): unknown {
    return structuredClone(this.attachment);
  }

  // For a Worker that keeps its end, instead of an object.

  accept(): void {
    // The test reads and writes without it.
  }

  addEventListener(type: string, listener: Parameters<SocketListeners["add"]>[1]): void {
    this.listeners ??= new SocketListeners();
    const { listeners } = this;
    listeners.add(type, listener);
    this.events = {
      onMessage: (_socket, data) => listeners.tell("message", { data }),
      onClose: (_socket, code, reason) => listeners.tell("close", { code, reason }),
      onError: () => listeners.tell("error", {}),
    };
  }

  // For the test.

  /** Has what the object does from now on told here. */
  listen(far: FarEvents): void {
    this.far = far;
    if (this.closed !== null) far.onClosed(this.closed.code, this.closed.reason);
  }

  /** Sends a frame, or a text, to the object. */
  push(frame: object | string): void {
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    if (text === "ping" && this.listeners === null) {
      this.pingedAt = new Date();
      this.put("pong");
    } else this.events?.onMessage(this, text);
  }

  /** Closes the socket at the client's end; 1006 is a connection that broke. */
  leave(code: number, reason = ""): void {
    if (this.closed !== null) return;
    this.closed = { code, reason };
    this.events?.onClose(this, code, reason);
  }

  /** The socket fails, which the runtime reports as an error instead of a close. */
  fail(): void {
    this.closed = { code: 1006, reason: "" };
    this.events?.onError(this);
  }

  /** The socket breaks off, and nobody tells the object. */
  vanish(): void {
    this.closed = { code: 1006, reason: "" };
  }

  /**
   * The frames that came since this was last read; those of a batch one by one, and without announcements of large
   * messages, which tell nothing of their own.
   */
  take(): Frame[] {
    const messages = this.messages.slice(this.readFrames);
    this.readFrames = this.messages.length;
    return messages
      .filter((message) => message !== "pong")
      .map((message) => parseExact(message) as unknown as Frame)
      .flatMap((frame) => (frame.type === "batch" ? (frame.frames as Frame[]) : [frame]))
      .filter(({ type }) => type !== "sending");
  }

  /** Like `take`, but only frames of this type. */
  takeOnly(type: string): Frame[] {
    return this.take().filter((frame) => frame.type === type);
  }

  private put(message: string): void {
    this.messages.push(message);
    this.far?.onSent(message);
  }
}
