import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** How many frames of a flood are written at once, and how often it looks whether they were taken, milliseconds. */
const FLOOD_FRAMES = 1_000;
const FLOOD_PAUSE_MS = 5;

/** A frame of RFC 6455 as it is on the wire. */
export interface WireFrame {
  opcode: number;
  payload: Buffer;
}

/**
 * A WebSocket on a bare TCP connection, for what client libraries refuse to send and hide when they receive it. It
 * answers nothing by itself.
 */
export class RawSocket {
  /** Resolves when the edge ends the connection. */
  readonly ended: Promise<void>;
  private readonly socket: Socket;
  private buffer = Buffer.alloc(0);
  private isOpen = false;
  private readonly frames: WireFrame[] = [];
  private wake: () => void = () => undefined;

  private constructor(url: URL) {
    this.socket = connect(Number(url.port), url.hostname);
    this.ended = new Promise((resolve) => {
      this.socket.once("close", () => {
        this.wake();
        resolve();
      });
    });
    this.socket.on("error", () => undefined);
    this.socket.on("data", (data) => {
      this.buffer = Buffer.concat([this.buffer, data]);
      this.read();
      this.wake();
    });
    const headers = [
      `GET ${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ];
    this.socket.write(`${headers.join("\r\n")}\r\n\r\n`);
  }

  static async open(url: string): Promise<RawSocket> {
    const opened = new RawSocket(new URL(url));
    await opened.until(() => opened.isOpen);
    return opened;
  }

  /** Sends one frame; `isLast: false` for all but the last frame of a message. */
  send(opcode: number, payload: string | Buffer = "", isLast = true): void {
    this.socket.write(frameOf(opcode, Buffer.from(payload), isLast));
  }

  /** Sends the same text over and over for so long, as fast as the other side takes it, or until it ends the connection. */
  async flood(text: string, forMs: number): Promise<void> {
    const frame = frameOf(OPCODE.text, Buffer.from(text), true);
    const frames = Buffer.concat(new Array<Buffer>(FLOOD_FRAMES).fill(frame));
    const endsAt = performance.now() + forMs;
    while (performance.now() < endsAt && !this.socket.destroyed) {
      const isTaken = this.socket.write(frames);
      // The other side may take nothing for long, so `drain` alone is not waited for.
      if (isTaken) await pause(0);
      while (this.socket.writableNeedDrain && performance.now() < endsAt)
        await pause(FLOOD_PAUSE_MS);
    }
    this.drop();
  }

  /** Sends a close frame; without a code it is empty. */
  close(code?: number, reason = ""): void {
    const codeBytes = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) codeBytes.writeUInt16BE(code);
    this.send(OPCODE.close, Buffer.concat([codeBytes, Buffer.from(reason)]));
  }

  /** Reads nothing any more, so that what comes waits on the other side. */
  stopReading(): void {
    this.socket.pause();
  }

  /** Ends the connection without a close frame. */
  drop(): void {
    this.socket.destroy();
  }

  /** Returns the next frame with this opcode, and skips those before it. */
  async next(opcode: number): Promise<WireFrame> {
    for (;;) {
      await this.until(() => this.frames.length > 0);
      const frame = this.frames.shift();
      if (frame?.opcode === opcode) return frame;
    }
  }

  /** Returns the next text message of this type. */
  async nextMessage(type: string): Promise<{ type: string; [field: string]: unknown }> {
    for (;;) {
      const { payload } = await this.next(OPCODE.text);
      const message = JSON.parse(payload.toString());
      if (message.type === type) return message;
    }
  }

  private async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.socket.destroyed) throw new Error("the edge ended the connection");
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  private read(): void {
    if (!this.isOpen) {
      const end = this.buffer.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.isOpen = this.buffer.toString("latin1", 0, end).startsWith("HTTP/1.1 101");
      this.buffer = this.buffer.subarray(end + 4);
    }
    for (let frame = this.readFrame(); frame !== null; frame = this.readFrame()) {
      this.frames.push(frame);
    }
  }

  private readFrame(): WireFrame | null {
    const [first = 0, second = 0] = this.buffer;
    const short = second & 127;
    const start = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (this.buffer.length < start) return null;
    const long = () => (start === 4 ? this.buffer.readUInt16BE(2) : this.buffer.readUInt32BE(6));
    const length = start === 2 ? short : long();
    if (this.buffer.length < start + length) return null;
    const payload = this.buffer.subarray(start, start + length);
    this.buffer = this.buffer.subarray(start + length);
    return { opcode: first & 15, payload };
  }
}

function frameOf(opcode: number, bytes: Buffer, isLast: boolean): Buffer {
  const mask = randomBytes(4);
  const masked = Buffer.from(bytes.map((byte, at) => byte ^ (mask[at % 4] ?? 0)));
  return Buffer.concat([headerOf(opcode, bytes.length, isLast), mask, masked]);
}

function headerOf(opcode: number, length: number, isLast: boolean): Buffer {
  const first = (isLast ? 128 : 0) | opcode;
  if (length < 126) return Buffer.from([first, 128 | length]);
  const header = Buffer.alloc(length < 65_536 ? 4 : 10);
  header[0] = first;
  header[1] = 128 | (length < 65_536 ? 126 : 127);
  if (length < 65_536) header.writeUInt16BE(length, 2);
  else header.writeBigUInt64BE(BigInt(length), 2);
  return header;
}
