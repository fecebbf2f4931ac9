import { WebSocket } from "ws";

export type Frame = { type: string; [key: string]: unknown };

/** A real socket whose frames are awaited one after the other. */
export class FrameSocket {
  readonly closed: Promise<{ code: number; reason: string }>;
  private readonly socket: WebSocket;
  private readonly frames: Frame[] = [];
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
      this.frames.push(JSON.parse(String(data)) as Frame);
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

  /** The next frame for which `wanted` holds; those before it are passed over. */
  async next(wanted: string | ((frame: Frame) => boolean)): Promise<Frame> {
    const fits = typeof wanted === "string" ? (frame: Frame) => frame.type === wanted : wanted;
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
