/** The part of the package that is used here, so that type checks pass when it is not installed. */
declare module "partyserver" {
  export class Server extends import("cloudflare:workers").DurableObject<unknown> {
    static options: { hibernate?: boolean };
    broadcast(message: string): void;
    onMessage(connection: WebSocket, message: string): void;
  }
  export function routePartykitRequest(request: Request, env: object): Promise<Response | null>;
}
