import type { FakeSocket } from "./socket.ts";

interface SocketEvents {
  message: { data: string };
  close: { code: number; reason: string };
  error: object;
}

type Listener = (event: SocketEvents[keyof SocketEvents]) => void;

/** The listeners at one end of a socket. */
export class SocketListeners {
  private readonly listeners = new Map<string, Listener[]>();

  add(type: string, listener: Listener): void {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener]);
  }

  /** Calls them after what runs now, as the runtime does. */
  tell<T extends keyof SocketEvents>(type: T, event: SocketEvents[T]): void {
    queueMicrotask(() => {
      for (const listener of this.listeners.get(type) ?? []) listener(event);
    });
  }
}

/** The Worker's end of a socket that it has opened at an object: what the object's end is sent, comes out here. */
export class DialedSocket {
  private readonly far: FakeSocket;
  private readonly listeners = new SocketListeners();

  constructor(far: FakeSocket) {
    this.far = far;
  }

  /** Until this is called nothing arrives. */
  accept(): void {
    const { far, listeners } = this;
    for (const data of far.messages) listeners.tell("message", { data });
    far.listen({
      onSent: (data) => listeners.tell("message", { data }),
      onClosed: (code = 1005, reason = "") => listeners.tell("close", { code, reason }),
    });
  }

  addEventListener(type: string, listener: Listener): void {
    this.listeners.add(type, listener);
  }

  send(message: string): void {
    if (this.far.closed !== null) throw new TypeError("Can't call send() after close().");
    this.far.push(message);
  }

  close(code = 1005, reason = ""): void {
    this.far.leave(code, reason);
  }
}
