import { DurableObject } from "cloudflare:workers";

/** Sends each incoming message to every socket at once, and stores nothing. */
export class BroadcastObject extends DurableObject<unknown> {
  override async fetch(): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(_socket: WebSocket, message: string): Promise<void> {
    for (const socket of this.ctx.getWebSockets()) socket.send(message);
  }

  override async webSocketClose(socket: WebSocket): Promise<void> {
    socket.close();
  }
}
