import type { Env } from "../env.ts";
import type { RoomStores } from "../storage/room-store.ts";
import type { Sql } from "../storage/sql.ts";
import type { Present } from "./calls.ts";
import { GatewayLinks } from "./gateway-links.ts";
import { RoomDesk } from "./room-desk.ts";
import { RoomMembers } from "./room-members.ts";
import { RoomSession } from "./room-session.ts";
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
  readonly desk: RoomDesk;
  readonly session: RoomSession;
  readonly sockets: RoomSockets;
  private readonly name: string;
  private readonly env: Env;
  private readonly links: GatewayLinks;

  constructor({ ctx, env, sql, stores, name, isShared, changed }: Parts) {
    this.name = name;
    this.env = env;
    this.sockets = new RoomSockets(ctx, name, changed);
    this.links = new GatewayLinks(
      (gateway, delivery) => {
        const { epoch, last } = this.desk.head;
        return env.GATEWAY.getByName(gateway).deliver({ room: name, epoch, last, ...delivery });
      },
      (gateway) => this.desk.leave(gateway),
    );
    const shared = isShared ? name : null;
    this.desk = new RoomDesk({
      name,
      shared,
      sql,
      stores,
      members: new RoomMembers(ctx.storage.kv, shared),
      sockets: this.sockets,
      links: this.links,
      crash: (error) => ctx.abort(String(error)),
    });
    this.desk.wake();
    this.session = new RoomSession(env, name, this.sockets, this.desk);
  }

  /** Who is here. A gateway that lost its sockets with its memory has said nothing of it: each is asked. */
  async presence(): Promise<Present[]> {
    await this.askGateways();
    return this.desk.roster();
  }

  async askGateways(): Promise<void> {
    const asked = this.desk.gateways().map(async (gateway) => {
      const join = this.links.joinOf(gateway);
      const present = await this.env.GATEWAY.getByName(gateway).present(this.name);
      if (present !== null) this.desk.present(gateway, present);
      else if (this.links.joinOf(gateway) === join) this.desk.leave(gateway);
    });
    await Promise.allSettled(asked);
  }

  expire(now: number): void {
    this.desk.expire(now);
    this.session.expire(now);
  }
}
