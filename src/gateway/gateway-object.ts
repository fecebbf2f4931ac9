import { DurableObject } from "cloudflare:workers";
import { maySubscribe } from "../auth/principal.ts";
import { readPrincipal, tokensDueAt } from "../auth/session.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { socketReport } from "../monitor/socket-report.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { Report } from "../protocol/monitor.ts";
import {
  type Delivered,
  type Delivery,
  type PresenceChange,
  SESSION_HEADERS,
} from "../room/calls.ts";
import { RoomHandle } from "../room/room-handle.ts";
import { closeQuietly } from "../space/connections.ts";
import { openChannel } from "./channels.ts";
import { GatewayDesk } from "./gateway-desk.ts";
import { GatewaySockets } from "./gateway-sockets.ts";
import { RoomHeads } from "./room-heads.ts";

/** Holds sockets that follow many channels each, so that a room tells an object and not thousands of sockets. */
export class GatewayObject extends DurableObject<Env> {
  private readonly sockets: GatewaySockets;
  private readonly desk: GatewayDesk;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.reporter = new Reporter(env, "gateway", ctx.id.name ?? "", () => this.standing());
    this.sockets = new GatewaySockets(ctx, () => this.reporter.changed());
    this.desk = new GatewayDesk({
      env,
      gateway: ctx.id.name ?? "",
      sockets: this.sockets,
      roomCalls: (room) => new RoomHandle(env, room),
      openChannel: (client, address, since) => {
        const name = address.kind === "space" ? `space:${address.name}` : `job:${address.id}`;
        const { principal, acks } = client.at;
        const mayRead = maySubscribe(principal, name);
        return openChannel(env, address, { since, mayRead, principal, acks });
      },
      heads: new RoomHeads(ctx.storage),
    });
    ctx.blockConcurrencyWhile(() => this.alarms.load());
  }

  /** A room tells what happened in it. */
  async deliver(delivery: Delivery): Promise<Delivered> {
    return this.desk.subscriptions.deliver(delivery);
  }

  async present(room: string): Promise<PresenceChange[] | null> {
    return this.desk.subscriptions.present(room);
  }

  /** For the monitor, which has not heard of this object for a while. */
  async census(): Promise<Report> {
    return this.standing();
  }

  /** Sockets only: the Worker has checked who they are. */
  override async fetch(request: Request): Promise<Response> {
    const header = (name: keyof typeof SESSION_HEADERS) =>
      request.headers.get(SESSION_HEADERS[name]);
    const principal = readPrincipal(header("principal"));
    if (!principal) return new Response(null, { status: 401 });
    const { 0: socket, 1: server } = new WebSocketPair();
    const client = this.sockets.accept(server, {
      id: crypto.randomUUID(),
      principal,
      subscriptions: [],
      batch: header("batch") === "1",
      acks: header("acks") === "1",
      noticed: false,
      malformed: 0,
    });
    this.alarms.arm(tokensDueAt([client]));
    this.ctx.waitUntil(this.desk.opened(client));
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: socket, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const client = this.sockets.of(socket);
    if (!client) return;
    await this.desk.receive(client, message);
    // It may have brought a fresh token.
    this.alarms.arm(tokensDueAt([client]));
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.gone(socket);
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.gone(socket);
  }

  override async alarm(): Promise<void> {
    this.alarms.forget();
    this.desk.expire(Date.now());
    this.alarms.arm(tokensDueAt(this.sockets.all()));
  }

  private gone(socket: WebSocket): void {
    const client = this.sockets.of(socket);
    if (client) {
      this.desk.left(client);
      return;
    }
    // The runtime does not list a socket whose close woke the object: all there is is what it kept.
    const departed = this.sockets.remembered(socket);
    if (departed) this.desk.subscriptions.departed(departed);
    this.reporter.changed();
  }

  private standing(): Report {
    return socketReport("gateway", this.sockets.size);
  }
}
