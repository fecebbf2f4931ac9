import type { Env } from "../env.ts";
import type { RoomStores } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { Present } from "./calls.ts";
import { GatewayDeliveries } from "./gateway-deliveries.ts";
import { RoomEngine } from "./room-engine.ts";
import { RoomHandler } from "./room-handler.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomSockets } from "./room-sockets.ts";

interface Parts {
  ctx: DurableObjectState;
  env: Env;
  sql: Sql;
  stores: RoomStores;
  name: string;
  /** The object keeps other rooms beside it. */
  isShared: boolean;
  /** Called when a socket came or went. */
  changed: () => void;
}

/** One room: its events in order, its own sockets, and the gateways that have others. */
export class Room {
  readonly engine: RoomEngine;
  readonly session: RoomHandler;
  readonly sockets: RoomSockets;
  private readonly name: string;
  private readonly env: Env;
  private readonly deliveries: GatewayDeliveries;

  constructor({ ctx, env, sql, stores, name, isShared, changed }: Parts) {
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
      links: this.deliveries,
      crash: (error) => ctx.abort(String(error)),
    });
    this.engine.wake();
    this.session = new RoomHandler(env, name, this.sockets, this.engine);
  }

  /** Who is here. A gateway that lost its sockets with its memory has said nothing of it: each is asked. */
  async presence(): Promise<Present[]> {
    await this.askGateways();
    return this.engine.roster();
  }

  async askGateways(): Promise<void> {
    const asked = this.engine.gateways().map(async (gateway) => {
      const join = this.deliveries.joinOf(gateway);
      const present = await this.env.GATEWAY.getByName(gateway).present(this.name);
      if (present !== null) this.engine.present(gateway, present);
      else if (this.deliveries.joinOf(gateway) === join) this.engine.leave(gateway);
    });
    await Promise.allSettled(asked);
  }

  expire(now: number): void {
    this.engine.expire(now);
    this.session.expire(now);
  }
}
