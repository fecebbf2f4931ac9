import type { Env } from "../env.ts";
import type { RoomStores } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { PresencePage } from "./calls.ts";
import { GatewayDeliveries } from "./gateway-deliveries.ts";
import { RoomEngine } from "./room-engine.ts";
import { RoomHandler } from "./room-handler.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomSockets } from "./room-sockets.ts";

interface RoomDeps {
  ctx: DurableObjectState;
  env: Env;
  sql: Sql;
  stores: RoomStores;
  name: string;
  /** The object keeps several rooms. */
  isShared: boolean;
  /** Makes the object call `expire` at this time, milliseconds since 1970. */
  arm: (at: number) => void;
  /** Called when a socket was opened or closed. */
  changed: () => void;
}

/** One room: its log of events, its own sockets, and the gateways that hold other subscribers. */
export class Room {
  readonly engine: RoomEngine;
  readonly handler: RoomHandler;
  readonly sockets: RoomSockets;
  readonly name: string;
  private readonly env: Env;
  private readonly deliveries: GatewayDeliveries;

  constructor({ ctx, env, sql, stores, name, isShared, arm, changed }: RoomDeps) {
    this.name = name;
    this.env = env;
    this.sockets = new RoomSockets(ctx, name, changed);
    this.deliveries = new GatewayDeliveries(
      (gateway, delivery) => {
        const { epoch, last } = this.engine.logEnd;
        return env.GATEWAY.getByName(gateway).deliver({ room: name, epoch, last, ...delivery });
      },
      (gateway) => this.engine.leave(gateway),
    );
    const shared = isShared ? name : null;
    this.engine = new RoomEngine({
      name,
      shared,
      sql,
      stores,
      members: new RoomMembers(ctx.storage.kv, shared),
      sockets: this.sockets,
      deliveries: this.deliveries,
      arm,
      crash: (error) => ctx.abort(String(error)),
    });
    this.engine.restorePresence();
    this.handler = new RoomHandler(env, name, this.sockets, this.engine);
  }

  /**
   * The users in the room. Every gateway is asked first: one that crashed has lost its sockets and could not
   * report that.
   */
  async presence(after: string | null): Promise<PresencePage> {
    await this.askGateways();
    return this.engine.presence.page(after);
  }

  /** Asks every gateway who is in the room there, and removes those without subscribers. */
  async askGateways(): Promise<void> {
    const updates = this.engine.gateways().map((gateway) => this.askGateway(gateway, false));
    await Promise.allSettled(updates);
  }

  /** @param isSure users whom the gateway doesn't name have left; if `false`, they may still be about to reconnect */
  async askGateway(gateway: string, isSure: boolean): Promise<void> {
    const { deliveries, engine } = this;
    if (!engine.gateways().includes(gateway)) return;
    const join = deliveries.joinOf(gateway);
    const present = await this.env.GATEWAY.getByName(gateway).present(this.name);
    if (present !== null) engine.presence.replaceAll(gateway, present, isSure);
    // A gateway that joined again while it was asked has subscribers by now.
    else if (deliveries.joinOf(gateway) === join) engine.leave(gateway, isSure);
  }

  /** @param resumedAt since when the edge has run without standing still, milliseconds since 1970 */
  expire(now: number, resumedAt: number): void {
    this.engine.expire(now);
    this.engine.presence.settle(now);
    this.handler.expire(now);
    this.handler.closeSilent(now, resumedAt);
  }
}
