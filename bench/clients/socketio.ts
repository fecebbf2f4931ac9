import { io, type Socket } from "socket.io-client";
import { INPUT, InFlight, type Submitter } from "./submitter.ts";

export function connectSocketIo(url: string): Socket {
  return io(url, { transports: ["websocket"], reconnection: false });
}

export function connected(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("connect", resolve));
}

/** Submits over Socket.IO. */
export class SocketIoSubmitter implements Submitter {
  private readonly inFlight = new InFlight();
  private readonly socket: Socket;
  private readonly ready: Promise<void>;

  constructor(url: string) {
    this.socket = connectSocketIo(url);
    this.socket.on("end", ({ ref }) => this.inFlight.end(Number(ref)));
    this.ready = connected(this.socket);
  }

  async submit(): Promise<void> {
    await this.ready;
    return this.inFlight.send((ref) => {
      this.socket.emit("submit", { ref, input: INPUT });
    });
  }
}
