import { DurableObject } from "cloudflare:workers";
import { credentialOf } from "../auth/credential.ts";
import { tokensDueAt } from "../auth/session.ts";
import { RoomCatalog } from "../catalog/room-catalog.ts";
import { type Position, parsePosition } from "../channel/position.ts";
import type { Env } from "../env.ts";
import { Reporter } from "../monitor/reporter.ts";
import { socketReport } from "../monitor/socket-report.ts";
import { Allowances, retryText } from "../objects/allowances.ts";
import { CatchUpPace } from "../objects/catch-up-pace.ts";
import { closeQuietly } from "../objects/close-quietly.ts";
import { type Credentials, credentialsOf } from "../objects/credentials.ts";
import { EarliestAlarm } from "../objects/earliest-alarm.ts";
import { turnsOf } from "../objects/message-turns.ts";
import { answerPings } from "../objects/pings.ts";
import { RATES } from "../objects/rate-limiter.ts";
import { readersOf } from "../objects/readers.ts";
import type { Refusal } from "../objects/reply.ts";
import { SILENT_MS, silenceDueAt } from "../objects/silent-sockets.ts";
import { readSocketRequest } from "../objects/socket-request.ts";
import { tagOf } from "../objects/socket-tag.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { parseExact } from "../protocol/exact-json.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Report } from "../protocol/monitor.ts";
import type { EventToPublish } from "../protocol/room-events.ts";
import { objectSql } from "../storage/object-sql.ts";
import { RoomStores } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type {
  HistoryPage,
  HistoryQuery,
  PresenceChange,
  PresencePage,
  PublishedPosition,
  RoomLog,
  RoomLogEnd,
} from "./calls.ts";
import { isShared } from "./host.ts";
import { isDeparture } from "./presence-grace.ts";
import { Room } from "./room.ts";
import { RoomListing } from "./room-listing.ts";
import { RoomMembers } from "./room-members.ts";
import { type RoomSocket, roomNameOf } from "./room-sockets.ts";
import { SweepSchedule } from "./sweep-schedule.ts";

/** Events that are too old go within this of their time, milliseconds: an alarm for each would ring all day. */
const EXPIRY_SLACK_MS = 600_000;

/** Keeps a room, or the own rooms of many users. */
export class RoomObject extends DurableObject<Env> {
  private readonly rooms = new Map<string, Room>();
  private readonly isShared: boolean;
  private readonly reporter: Reporter;
  private readonly alarms: EarliestAlarm;
  private readonly sweeps: SweepSchedule;
  private readonly credentials: Credentials;
  private readonly sql: Sql;
  private readonly stores: RoomStores;
  /** The events that users publish over HTTP. */
  private readonly publishers = new Allowances(RATES.backend);
  private readonly listing: RoomListing;
  /** Spreads over turns what sockets are sent when they open. */
  private readonly openings = new CatchUpPace<RoomSocket>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const name = ctx.id.name ?? "";
    answerPings(ctx, env);
    this.isShared = isShared(name);
    this.alarms = new EarliestAlarm(ctx.storage);
    this.credentials = credentialsOf(env, "room", ctx);
    this.reporter = new Reporter(env, "room", name, () => this.summary());
    this.sweeps = new SweepSchedule(ctx.storage.kv);
    this.sql = objectSql(ctx.storage);
    this.stores = new RoomStores(this.sql);
    this.listing = new RoomListing(ctx.storage.kv, new RoomCatalog(env.DB));
    ctx.blockConcurrencyWhile(async () => {
      await this.alarms.load();
      if (!this.isShared) this.room(name);
      for (const socket of ctx.getWebSockets()) this.roomOf(socket);
    });
  }

  /**
   * @param eventsText the JSON of a list of events that the caller has checked
   * @param publisher the user whose events are counted; `null`: they are counted elsewhere, or not limited
   */
  async publish(
    room: string,
    eventsText: string,
    publisher: string | null,
  ): Promise<PublishedPosition[] | Refusal> {
    const events = parseExact(eventsText) as EventToPublish[];
    const waitS =
      publisher === null ? 0 : this.publishers.take(publisher, events.length, Date.now());
    if (waitS > 0) {
      const detail = `Too many events: a user or key may publish ${LIMITS.backendFramesPerSecond} a second; ${retryText(waitS)}.`;
      return { ok: false, code: "rate_limited", detail, retryAfterS: waitS };
    }
    const published = await this.room(room).engine.publish(events, eventsText.length);
    this.arm(this.room(room));
    this.listing.onEvent(room, Date.now());
    return published;
  }

  /**
   * Erases a room's events. Whoever follows it keeps doing so, and the next event has the next offset: nobody takes it
   * for one that they know.
   */
  async clear(room: string): Promise<void> {
    if (this.known().includes(room)) {
      this.room(room).engine.expire(Number.MAX_SAFE_INTEGER);
      await this.sweep([room]);
      this.arm(this.room(room));
    }
    await this.listing.remove(room);
  }

  /** The first of the room's events after a position. */
  async read(room: string, since: Position): Promise<RoomLog> {
    return this.room(room).engine.read(since);
  }

  async history(room: string, query: HistoryQuery): Promise<HistoryPage> {
    return this.room(room).engine.history(query);
  }

  async join(
    room: string,
    gateway: string,
    present: PresenceChange[],
    isWatched: boolean,
  ): Promise<RoomLogEnd> {
    const head = this.room(room).engine.join(gateway, present, isWatched);
    this.arm(this.room(room));
    return head;
  }

  async changePresence(room: string, gateway: string, changes: PresenceChange[]): Promise<void> {
    this.room(room).engine.presence.report(gateway, changes);
  }

  /** A gateway has lost track of who dropped: whoever is missing there has had time to come back. */
  async checkPresence(room: string, gateway: string): Promise<void> {
    await this.room(room).askGateway(gateway, true);
  }

  async presence(room: string, after: string | null): Promise<PresencePage> {
    return this.room(room).presence(after);
  }

  /** The monitor asks for it when this object has not reported for a while. */
  async getReport(): Promise<Report> {
    return this.summary();
  }

  /** The holder of sessions and keys calls this when some of them were taken back; see `reviewSockets`. */
  async review(holder: string, ended: string[]): Promise<string[]> {
    this.credentials.forget(holder);
    const rooms = [...this.rooms.values()];
    return rooms.flatMap(({ handler }) => handler.review(holder, ended));
  }

  /** Sockets only: the Worker has checked who they are and that they may be here. */
  override async fetch(request: Request): Promise<Response> {
    const asked = readSocketRequest(request.headers, "room");
    const { principal, filter, presence, batch, acks, since, relayed } = asked;
    if (!principal) return new Response(null, { status: 401 });
    const name = decodeURIComponent(new URL(request.url).pathname.slice(1));
    const position = parsePosition(since);
    await this.openings.takeTurn(this.room(name).engine.catchUpBytes(position));
    const refusal = await this.credentials.refusalOf(credentialOf(principal));
    if (refusal !== null) return Response.json(refusal, { status: 401 });
    // Only now: an idle room may have been forgotten meanwhile.
    const room = this.room(name);
    const attachment = {
      id: crypto.randomUUID(),
      room: name,
      principal,
      filter,
      presence,
      batch,
      acks,
      noticed: false,
      malformed: 0,
      openedAt: Date.now(),
      heardAt: 0,
      pingedAt: 0,
      relayed,
    };
    const excess = room.sockets.refusalOf(attachment);
    if (excess !== null) return Response.json(excess, { status: 429 });
    const { 0: client, 1: server } = new WebSocketPair();
    const subscriber = room.sockets.accept(server, attachment);
    room.engine.open(subscriber, position);
    this.arm(room);
    this.alarms.arm(tokensDueAt([subscriber]));
    this.alarms.arm(Date.now() + SILENT_MS);
    const headers = protocolHeader(request);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const room = this.roomOf(socket);
    const subscriber = room?.sockets.of(socket);
    if (!room || !subscriber) {
      turnsOf(this.ctx).onIgnored();
      return;
    }
    await room.handler.onMessage(subscriber, message);
    // It may have brought a fresh token.
    this.alarms.arm(tokensDueAt([subscriber]));
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
    const { resumedAt } = this.alarms;
    const names = this.known();
    for (const name of names) this.room(name).expire(now, resumedAt);
    await this.sweep(this.sweeps.take(names, now));
    const rooms = this.known().map((name) => this.room(name));
    // Nothing happens in these: they are as they were stored.
    for (const [name, { engine }] of this.rooms) if (engine.isIdle()) this.rooms.delete(name);
    if (rooms.length === 0 && this.rooms.size === 0) {
      this.stores.forget();
      await this.ctx.storage.deleteAll();
      return;
    }
    this.arm(...rooms);
    this.alarms.arm(tokensDueAt(rooms.flatMap(({ sockets }) => sockets.all())));
    for (const { sockets } of rooms) this.alarms.arm(silenceDueAt(sockets, now, resumedAt));
  }

  /** Erases rooms without events that nobody follows any more. */
  private async sweep(names: readonly string[]): Promise<void> {
    const empty = names.map((name) => this.room(name)).filter(({ engine }) => engine.isEmpty());
    await Promise.all(empty.map((room) => room.askGateways()));
    for (const { name, engine } of empty) {
      if (!engine.isEmpty() || !engine.isIdle()) continue;
      engine.erase();
      await this.listing.removeErased(name);
    }
  }

  private room(name: string): Room {
    const known = this.rooms.get(name);
    if (known) return known;
    const { ctx, env, sql, stores, isShared } = this;
    const changed = () => this.reporter.markChanged();
    const arm = (at: number) => this.alarms.arm(at);
    const made = new Room({ ctx, env, sql, stores, name, isShared, arm, changed });
    this.rooms.set(name, made);
    return made;
  }

  private roomOf(socket: WebSocket): Room | null {
    const name = tagOf(this.ctx, socket) ?? roomNameOf(socket);
    return name === null ? null : this.room(name);
  }

  private onSocketGone(socket: WebSocket, isLeaving: boolean): void {
    const room = this.roomOf(socket);
    const subscriber = room?.sockets.of(socket);
    readersOf(this.ctx).onGone(socket);
    if (subscriber) {
      room?.engine.onClose(subscriber, isLeaving);
      return;
    }
    // The runtime does not list a socket whose close woke the object: all there is is what it kept.
    const departed = room?.sockets.remembered(socket);
    if (departed && isLeaving) room?.engine.presence.onLateLeave(departed);
  }

  /** The rooms of which anything is stored. */
  private known(): string[] {
    const { kv } = this.ctx.storage;
    if (this.isShared) return RoomMembers.rooms(kv);
    const { name = "" } = this.ctx.id;
    return new RoomMembers(kv, null).knownEpoch() === null ? [] : [name];
  }

  private arm(...rooms: Room[]): void {
    for (const { engine } of rooms) {
      const expiresAt = engine.expiresAt();
      if (expiresAt !== null) this.alarms.arm(expiresAt + EXPIRY_SLACK_MS);
      this.alarms.arm(engine.presence.dueAt());
    }
    this.alarms.arm(this.sweeps.dueAt(Date.now()));
  }

  private summary(): Report {
    const rooms = [...this.rooms.values()];
    const connections = rooms.reduce((sum, { sockets }) => sum + sockets.size, 0);
    return socketReport("room", connections);
  }
}
