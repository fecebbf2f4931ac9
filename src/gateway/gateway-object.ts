import { DurableObject } from "cloudflare:workers";
import { credentialOf } from "../auth/credential.ts";
import { tokensDueAt } from "../auth/session.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { socketReport } from "../monitor/socket-report.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { answerPings } from "../objects/pings.ts";
import { SILENT_MS, silenceDueAt } from "../objects/silent-sockets.ts";
import { readSocketRequest } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import type { Report } from "../protocol/monitor.ts";
import type { DeliveryAnswer, PresenceChange, RoomDelivery } from "../room/calls.ts";
import { isDeparture } from "../room/presence-grace.ts";
import { RoomStub } from "../room/room-stub.ts";
import { DeliveredOffsets } from "./delivered-offsets.ts";
import { GatewayHandler } from "./gateway-handler.ts";
import { GatewaySockets } from "./gateway-sockets.ts";
import { openChannel } from "./open-channel.ts";

/** Holds sockets that follow many channels each: a room sends an event to the gateway once, not to thousands of sockets. */
export class GatewayObject extends DurableObject<Env> {
  private readonly sockets: GatewaySockets;
  private readonly handler: GatewayHandler;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  private readonly credentials: Credentials;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.credentials = credentialsOf(env, "gateway", ctx);
    this.reporter = new Reporter(env, "gateway", ctx.id.name ?? "", () => this.summary());
    answerPings(ctx, env);
    this.sockets = new GatewaySockets(ctx, () => this.reporter.markChanged());
    this.handler = new GatewayHandler({
      env,
      gateway: ctx.id.name ?? "",
      sockets: this.sockets,
      roomCalls: (room) => new RoomStub(env, room),
      openChannel: (client, address, since) => {
        const { principal, acks } = client.attachment;
        return openChannel(env, address, { since, principal, acks });
      },
      deliveredOffsets: new DeliveredOffsets(ctx.storage),
      storage: ctx.storage,
      arm: (at) => this.alarms.arm(at),
    });
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      this.handler.subscriptions.recover();
    });
  }

  /** A room delivers its events here. */
  async deliver(delivery: RoomDelivery): Promise<DeliveryAnswer> {
    return this.handler.subscriptions.deliver(delivery);
  }

  async present(room: string): Promise<PresenceChange[] | null> {
    return this.handler.subscriptions.present(room);
  }

  /** The monitor asks for it when this object has not reported for a while. */
  async getReport(): Promise<Report> {
    return this.summary();
  }

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    return this.handler.review(holder, ended);
  }

  /** Sockets only: the Worker has checked who they are. */
  override async fetch(request: Request): Promise<Response> {
    const { principal, batch, acks } = readSocketRequest(request.headers, "gateway");
    if (!principal) return new Response(null, { status: 401 });
    const refusal = await this.credentials.refusalOf(credentialOf(principal));
    if (refusal !== null) return Response.json(refusal, { status: 401 });
    const attachment = {
      id: crypto.randomUUID(),
      principal,
      subscriptions: [],
      batch,
      acks,
      noticed: false,
      malformed: 0,
      openedAt: Date.now(),
      heardAt: 0,
      pingedAt: 0,
    };
    const excess = this.sockets.refusalOf(attachment);
    if (excess !== null) return Response.json(excess, { status: 429 });
    const { 0: socket, 1: server } = new WebSocketPair();
    const client = this.sockets.accept(server, attachment);
    this.alarms.arm(tokensDueAt([client]));
    this.alarms.arm(Date.now() + SILENT_MS);
    this.ctx.waitUntil(this.handler.onOpen(client));
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: socket, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const client = this.sockets.of(socket);
    if (!client) {
      this.sockets.ignore();
      return;
    }
    await this.handler.onMessage(client, message);
    // It may have brought a fresh token.
    this.alarms.arm(tokensDueAt([client]));
  }

  override async webSocketClose(socket: WebSocket, code: number, reason: string): Promise<void> {
    this.onSocketGone(socket, isDeparture(code));
    closeQuietly(socket, code, reason);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    this.onSocketGone(socket, false);
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    const now = Date.now();
    this.alarms.onAlarm(now, info?.scheduledTime);
    this.handler.expire(now);
    this.handler.closeSilent(now, this.alarms.resumedAt);
    await this.handler.subscriptions.settlePresence(now);
    this.alarms.arm(tokensDueAt(this.sockets.all()));
    this.alarms.arm(silenceDueAt(this.sockets, now, this.alarms.resumedAt));
    this.alarms.arm(this.handler.subscriptions.presenceDueAt());
  }

  private onSocketGone(socket: WebSocket, isLeaving: boolean): void {
    const client = this.sockets.of(socket);
    this.sockets.onGone(socket);
    if (client) {
      this.handler.onClose(client, isLeaving);
      return;
    }
    // The runtime does not list a socket whose close woke the object: all there is is what it kept.
    const departed = this.sockets.remembered(socket);
    if (departed) this.handler.subscriptions.onLateClose(departed, isLeaving);
    this.reporter.markChanged();
  }

  private summary(): Report {
    return socketReport("gateway", this.sockets.size);
  }
}
