import { WebSocket } from "ws";

export type ReceivedFrame = { type: string; [key: string]: unknown };

/** A client on a real socket that waits for frames one after the other. */
export class FrameSocket {
  readonly closed: Promise<{ code: number; reason: string }>;
  private readonly socket: WebSocket;
  private readonly frames: ReceivedFrame[] = [];
  private wake: () => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => {
        this.wake();
        resolve({ code, reason: String(reason) });
      });
    });
    socket.on("message", (data) => {
      this.frames.push(JSON.parse(String(data)) as ReceivedFrame);
      this.wake();
    });
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<FrameSocket> {
    const socket = new WebSocket(url.replace(/^http/, "ws"), { headers });
    const opened = new FrameSocket(socket);
    await new Promise((resolve, reject) => {
      socket.once("open", resolve).once("error", reject);
    });
    return opened;
  }

  get isOpen(): boolean {
    return this.socket.readyState === WebSocket.OPEN;
  }

  send(data: object | string | Uint8Array): void {
    const isFrame = typeof data === "object" && !(data instanceof Uint8Array);
    this.socket.send(isFrame ? JSON.stringify(data) : data);
  }

  close(): void {
    this.socket.close(1000);
  }

  /** Returns the next frame for which `wanted` holds, or of that type, and skips those before it. */
  async next(wanted: string | ((frame: ReceivedFrame) => boolean)): Promise<ReceivedFrame> {
    const fits =
      typeof wanted === "string" ? (frame: ReceivedFrame) => frame.type === wanted : wanted;
    for (;;) {
      const index = this.frames.findIndex(fits);
      const found = this.frames[index];
      if (found) {
        this.frames.splice(0, index + 1);
        return found;
      }
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(`the socket closed without ${String(wanted)}`);
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
