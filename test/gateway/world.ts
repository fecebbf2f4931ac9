import type { SessionPrincipal } from "../../src/auth/session.ts";
import type { Env } from "../../src/env.ts";
import { DeliveredOffsets } from "../../src/gateway/delivered-offsets.ts";
import { GatewayHandler } from "../../src/gateway/gateway-handler.ts";
import { type Client, GatewaySockets } from "../../src/gateway/gateway-sockets.ts";
import type { OpenChannel } from "../../src/gateway/proxied-channel.ts";
import type { RoomCalls } from "../../src/gateway/room-subscription.ts";
import type { EventToPublish } from "../../src/protocol/room-events.ts";
import type { PresenceChange, RoomDelivery } from "../../src/room/calls.ts";
import { GatewayDeliveries } from "../../src/room/gateway-deliveries.ts";
import { RoomEngine } from "../../src/room/room-engine.ts";
import { RoomHandler } from "../../src/room/room-handler.ts";
import { RoomMembers } from "../../src/room/room-members.ts";
import { RoomSockets } from "../../src/room/room-sockets.ts";
import { RoomStores } from "../../src/storage/room-store.ts";
import { nodeSql } from "../storage/node-sql.ts";
import { FakeSocket, FakeState, type Frame, settle } from "../support/fake-object.ts";

/** What a new socket keeps of its client's signs of life. */
const NEW = { openedAt: 0, heardAt: 0, pingedAt: 0, relayed: false };

export const SECRET = "a-secret-for-the-tokens-of-tests";

/** A user's rights as the socket of one keeps them; by default to everything, for an hour. */
export function userOf(
  userId: string,
  { rooms = ["*"], publish = ["*"], expiresAt = Date.now() + 3_600_000 } = {},
): SessionPrincipal {
  return { kind: "user", userId, expiresAt, rooms, publish };
}

/** Rooms and gateways in this process, which call each other. A test may fail, hold or count any of the calls. */
export class World {
  readonly rooms = new Map<string, RoomInWorld>();
  readonly gateways = new Map<string, GatewayInWorld>();
  /** Called before every call; a call that it rejects fails without having been made. */
  onCall: (call: string, room: string, gateway: string, ...given: unknown[]) => unknown = () =>
    null;
  openChannel: OpenChannel = () => Promise.reject(new Error("there are no channels here"));

  room(name: string): RoomInWorld {
    const known = this.rooms.get(name) ?? new RoomInWorld(this, name);
    this.rooms.set(name, known);
    return known;
  }

  gateway(name = "gate"): GatewayInWorld {
    const known = this.gateways.get(name) ?? new GatewayInWorld(this, name);
    this.gateways.set(name, known);
    return known;
  }

  /** Makes these calls fail, until the function that it returns is called. */
  failing(...calls: string[]): () => void {
    this.onCall = (call) => {
      if (calls.includes(call)) throw new Error(`${call} is out of order`);
    };
    return () => {
      this.onCall = () => null;
    };
  }

  async call<T>(
    call: string,
    room: string,
    gateway: string,
    make: () => T | Promise<T>,
    ...given: unknown[]
  ): Promise<T> {
    await this.onCall(call, room, gateway, ...given);
    return structuredClone(await make());
  }

  callsTo(room: string, gateway: string): RoomCalls {
    const made = () => this.room(room).engine;
    return {
      join: (name, present, isWatched) =>
        this.call("join", room, gateway, () => made().join(name, present, isWatched), present),
      read: (since) => this.call("read", room, gateway, () => made().read(since), since),
      changePresence: (name, changes) =>
        this.call(
          "changePresence",
          room,
          gateway,
          () => made().presence.report(name, changes),
          changes,
        ),
      checkPresence: (name) =>
        this.call("checkPresence", room, gateway, () => this.checkPresence(room, name)),
    };
  }

  private checkPresence(room: string, gateway: string): void {
    const present = this.gateway(gateway).handler.subscriptions.present(room);
    const { engine } = this.room(room);
    if (present === null) engine.leave(gateway, true);
    else engine.presence.replaceAll(gateway, present, true);
  }
}

/** A room's object, of which `restart` drops the memory. */
export class RoomInWorld {
  readonly state = new FakeState();
  readonly name: string;
  engine: RoomEngine;
  handler: RoomHandler;
  sockets: RoomSockets;
  deliveries: GatewayDeliveries;
  readonly alarms: number[] = [];
  readonly crashes: unknown[] = [];
  private readonly sql = nodeSql();
  private readonly world: World;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    ({
      engine: this.engine,
      handler: this.handler,
      sockets: this.sockets,
      deliveries: this.deliveries,
    } = this.started());
  }

  /** The object loses its memory; its sockets and what it stored stay. */
  restart(): void {
    Object.assign(this, this.started());
    this.engine.restorePresence();
  }

  async publish(...events: (Partial<EventToPublish> & { n?: number })[]) {
    const published = await this.publishNow(
      ...events.map(({ n = 0, type = "step.done", data = { n }, id }) => ({
        type,
        data,
        ...(id ? { id } : {}),
      })),
    );
    await settle();
    return published;
  }

  /** The same, and returns as soon as the room has answered. */
  publishNow(...events: EventToPublish[]) {
    return this.engine.publish(events, 100);
  }

  /** Opens a socket of this room. */
  open(principal: SessionPrincipal, more: object = {}, since: string | null = null) {
    const socket = new FakeSocket();
    const [epoch = "", offset = ""] = since?.split(":") ?? [];
    const subscriber = this.sockets.accept(socket.end, {
      id: crypto.randomUUID(),
      room: this.name,
      principal,
      filter: null,
      presence: false,
      batch: false,
      acks: false,
      noticed: false,
      malformed: 0,
      ...NEW,
      ...more,
    });
    this.engine.open(subscriber, since === null ? null : { epoch, offset: Number(offset) });
    const send = async (frame: object | string) => {
      const current = this.sockets.of(socket.end);
      if (!current) return;
      await this.handler.onMessage(
        current,
        typeof frame === "string" ? frame : JSON.stringify(frame),
      );
      await settle();
    };
    const leave = (isLeaving = true) => {
      const current = this.sockets.of(socket.end);
      socket.close();
      if (current) this.engine.onClose(current, isLeaving);
    };
    return { socket, send, leave };
  }

  get epoch(): string {
    return this.engine.logEnd.epoch;
  }

  present(): string[] {
    return this.engine.presence.roster().map(({ user_id }) => user_id);
  }

  private started() {
    const { state, sql, world, name } = this;
    const sockets = new RoomSockets(state.ctx, name, () => undefined);
    const deliveries: GatewayDeliveries = new GatewayDeliveries(
      (gateway, content) => {
        const { epoch, last } = engine.logEnd;
        const delivery: RoomDelivery = structuredClone({ room: name, epoch, last, ...content });
        const made = () => world.gateway(gateway).handler.subscriptions.deliver(delivery);
        return world.call("deliver", name, gateway, made, delivery);
      },
      (gateway) => engine.leave(gateway),
    );
    const engine: RoomEngine = new RoomEngine({
      name,
      shared: null,
      sql,
      stores: new RoomStores(sql),
      members: new RoomMembers(state.storage.kv, null),
      sockets,
      deliveries,
      arm: (at) => this.alarms.push(at),
      crash: (error) => this.crashes.push(error),
    });
    const env = { JWT_SECRET: SECRET } as Env;
    return { sockets, deliveries, engine, handler: new RoomHandler(env, name, sockets, engine) };
  }
}

/** A gateway's object, of which `restart` drops the memory. */
export class GatewayInWorld {
  readonly state = new FakeState();
  readonly name: string;
  handler: GatewayHandler;
  sockets: GatewaySockets;
  readonly alarms: number[] = [];
  private readonly world: World;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    ({ handler: this.handler, sockets: this.sockets } = this.started());
    this.handler.subscriptions.recover();
  }

  /** The object loses its memory; its sockets and what it stored stay. */
  restart(): void {
    Object.assign(this, this.started());
    this.handler.subscriptions.recover();
  }

  /** Opens a socket of `/ws`; the frames that it begins with are read already. */
  async open(principal: SessionPrincipal, { batch = false, acks = false } = {}) {
    const client = new ClientInWorld(this, principal, { batch, acks });
    await client.opened;
    await settle();
    client.socket.take();
    return client;
  }

  present(room: string): PresenceChange[] | null {
    return this.handler.subscriptions.present(room);
  }

  private started() {
    const { state, world, name } = this;
    const sockets = new GatewaySockets(state.ctx, () => undefined);
    const stub = () => ({
      publish: async (room: string, text: string) => {
        const made = () => world.room(room).engine.publish(JSON.parse(text), text.length);
        return world.call("publish", room, name, made, text);
      },
    });
    const env = { JWT_SECRET: SECRET, ROOM: { getByName: stub } } as unknown as Env;
    const handler = new GatewayHandler({
      env,
      gateway: name,
      sockets,
      roomCalls: (room) => world.callsTo(room, name),
      openChannel: (...given) => world.openChannel(...given),
      deliveredOffsets: new DeliveredOffsets(state.storage),
      storage: state.storage,
      arm: (at) => this.alarms.push(at),
    });
    return { sockets, handler };
  }
}

/** A client of a gateway. */
export class ClientInWorld {
  readonly socket = new FakeSocket();
  readonly opened: Promise<void>;
  private readonly gateway: GatewayInWorld;

  constructor(
    gateway: GatewayInWorld,
    principal: SessionPrincipal,
    flags: { batch: boolean; acks: boolean },
  ) {
    this.gateway = gateway;
    const client = gateway.sockets.accept(this.socket.end, {
      id: crypto.randomUUID(),
      principal,
      subscriptions: [],
      ...flags,
      noticed: false,
      malformed: 0,
      ...NEW,
    });
    this.opened = gateway.handler.onOpen(client);
  }

  /** The client as the gateway has it now; `null` if the gateway has closed it. */
  get known(): Client | null {
    return this.gateway.sockets.of(this.socket.end);
  }

  /** Sends a frame and returns what the client got until nothing moves any more. */
  async send(frame: object | string | ArrayBuffer): Promise<Frame[]> {
    const { known } = this;
    const raw =
      typeof frame === "string" || frame instanceof ArrayBuffer ? frame : JSON.stringify(frame);
    if (known) void this.gateway.handler.onMessage(known, raw);
    await settle();
    return this.socket.take();
  }

  /** Sends a fresh token, and waits for its answer: checking a token takes longer than other frames. */
  async authenticate(token: string, ref?: number): Promise<Frame[]> {
    const { known } = this;
    const frame = JSON.stringify({ type: "authenticate", token, ref });
    if (known) await this.gateway.handler.onMessage(known, frame);
    await settle();
    return this.socket.take();
  }

  subscribe(room: string, more: object = {}): Promise<Frame[]> {
    return this.send({ type: "subscribe", room, ...more });
  }

  async leave(isLeaving = true): Promise<void> {
    const { known } = this;
    this.socket.close();
    if (known) this.gateway.handler.onClose(known, isLeaving);
    await settle();
  }
}
