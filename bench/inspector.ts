import { once } from "node:events";
import { WebSocket } from "ws";

/** A client for the part of the inspector protocol that a profile needs. */
export class Inspector {
  private readonly socket: WebSocket;
  private lastId = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
  }

  static async open(port: number): Promise<Inspector> {
    const listed = await fetch(`http://127.0.0.1:${port}/json`);
    const targets = (await listed.json()) as { webSocketDebuggerUrl: string }[];
    const url = targets[0]?.webSocketDebuggerUrl;
    if (url === undefined) throw new Error("workerd lists no inspector target");
    const socket = new WebSocket(url, { headers: { "user-agent": "bench" } });
    await once(socket, "open");
    return new Inspector(socket);
  }

  send(method: string, params: object = {}): Promise<unknown> {
    this.lastId += 1;
    const id = this.lastId;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve) => {
      const onMessage = (data: unknown) => {
        const answer = JSON.parse(String(data)) as { id?: number; result?: unknown };
        if (answer.id !== id) return;
        this.socket.off("message", onMessage);
        resolve(answer.result);
      };
      this.socket.on("message", onMessage);
    });
  }

  close(): void {
    this.socket.close();
  }
}
