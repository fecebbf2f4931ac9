import { routePartykitRequest, Server } from "partyserver";

/** A room with hibernation, written as partyserver's documentation recommends. */
export class Party extends Server {
  static override options = { hibernate: true };

  override onMessage(_connection: WebSocket, message: string): void {
    this.broadcast(message);
  }
}

/** A room is at `/parties/party/<name>`. */
export default {
  async fetch(request: Request, env: object): Promise<Response> {
    return (await routePartykitRequest(request, env)) ?? new Response(null, { status: 404 });
  },
};
