import { DurableObject } from "cloudflare:workers";
import { readPrincipal, tokensDueAt } from "../auth/session.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { socketReport } from "../monitor/socket-report.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { Report } from "../protocol/monitor.ts";
import type { PublishedEvent } from "../protocol/room-events.ts";
import { eventFilter } from "../protocol/room-frames.ts";
import { closeQuietly } from "../space/connections.ts";
import { objectSql } from "../storage/object-sql.ts";
import {
  type PresenceChange,
  type Present,
  type Published,
  type RoomHead,
  type RoomLog,
  SESSION_HEADERS,
} from "./calls.ts";
import { GatewayLinks } from "./gateway-links.ts";
import { RoomDesk } from "./room-desk.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomSession } from "./room-session.ts";
import { RoomSockets } from "./room-sockets.ts";

/** One room: its events in order, its own sockets, and the gateways that have others. */
export class RoomObject extends DurableObject<Env> {
  private readonly sockets: RoomSockets;
  private readonly desk: RoomDesk;
  private readonly session: RoomSession;
  private readonly links: GatewayLinks;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    const name = ctx.id.name ?? "";
    this.reporter = new Reporter(env, "room", ctx.id.name ?? "", () => this.standing());
    this.sockets = new RoomSockets(ctx, () => this.reporter.changed());
    this.links = new GatewayLinks(
      (gateway, delivery) => {
        const { epoch, last } = this.desk.head;
        return env.GATEWAY.getByName(gateway).deliver({ room: name, epoch, last, ...delivery });
      },
      (gateway) => this.desk.leave(gateway),
    );
    const crash = (error: unknown) => ctx.abort(String(error));
    this.desk = new RoomDesk({
      name,
      sql: objectSql(ctx.storage),
      members: new RoomMembers(ctx.storage.kv),
      sockets: this.sockets,
      links: this.links,
      crash,
    });
    this.desk.wake();
    this.session = new RoomSession(env, name, this.sockets, this.desk);
    ctx.blockConcurrencyWhile(() => this.alarms.load());
  }

  async publish(events: PublishedEvent[]): Promise<Published[]> {
    const published = await this.desk.publish(events);
    this.alarms.arm(this.desk.dueAt(Date.now()));
    return published;
  }

  async history(since: Position | null, limit: number): Promise<RoomLog> {
    return this.desk.read(since, limit);
  }

  /** For a gateway: everything after a position. A call carries 32 MiB, and a room keeps 4 MiB. */
  async read(since: Position): Promise<RoomLog> {
    return this.desk.read(since);
  }

  async join(gateway: string, present: PresenceChange[]): Promise<RoomHead> {
    const head = this.desk.join(gateway, present);
    this.alarms.arm(this.desk.dueAt(Date.now()));
    return head;
  }

  async moved(gateway: string, changes: PresenceChange[]): Promise<void> {
    this.desk.moved(gateway, changes);
  }

  /** Who is here. A gateway that lost its sockets with its memory has said nothing of it: each is asked. */
  async presence(): Promise<Present[]> {
    await this.checkGateways();
    return this.desk.roster();
  }

  /** For the monitor, which has not heard of this object for a while. */
  async census(): Promise<Report> {
    return this.standing();
  }

  /** Sockets only: the Worker has checked who they are and that they may be here. */
  override async fetch(request: Request): Promise<Response> {
    const header = (name: keyof typeof SESSION_HEADERS) =>
      request.headers.get(SESSION_HEADERS[name]);
    const principal = readPrincipal(header("principal"));
    if (!principal) return new Response(null, { status: 401 });
    const filter = header("filter");
    const { 0: client, 1: server } = new WebSocketPair();
    const subscriber = this.sockets.accept(server, {
      id: crypto.randomUUID(),
      principal,
      filter: filter === null ? null : eventFilter.parse(JSON.parse(decodeURIComponent(filter))),
      presence: header("presence") === "1",
      batch: header("batch") === "1",
      acks: header("acks") === "1",
      noticed: false,
      malformed: 0,
    });
    this.desk.opened(subscriber, parsePosition(header("since")));
    this.alarms.arm(this.desk.dueAt(Date.now()));
    this.alarms.arm(tokensDueAt([subscriber]));
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const subscriber = this.sockets.of(socket);
    if (!subscriber) return;
    await this.session.receive(subscriber, message);
    // It may have brought a fresh token.
    this.alarms.arm(tokensDueAt([subscriber]));
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
    const now = Date.now();
    this.desk.expire(now);
    this.session.expire(now);
    if (this.desk.isEmpty()) await this.checkGateways();
    if (this.desk.isOver()) {
      this.desk.forget();
      await this.ctx.storage.deleteAll();
      return;
    }
    this.alarms.arm(this.desk.dueAt(Date.now()));
    this.alarms.arm(tokensDueAt(this.sockets.all()));
  }

  private async checkGateways(): Promise<void> {
    const name = this.ctx.id.name ?? "";
    const checks = this.desk.gateways().map(async (gateway) => {
      const join = this.links.joinOf(gateway);
      const present = await this.env.GATEWAY.getByName(gateway).present(name);
      if (present !== null) this.desk.present(gateway, present);
      else if (this.links.joinOf(gateway) === join) this.desk.leave(gateway);
    });
    await Promise.allSettled(checks);
  }

  private gone(socket: WebSocket): void {
    const subscriber = this.sockets.of(socket);
    if (subscriber) this.desk.left(subscriber);
  }

  private standing(): Report {
    return socketReport("room", this.sockets.size);
  }
}
