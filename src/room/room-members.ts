import { z } from "zod";
import type { PresenceChange } from "./calls.ts";

/** A user has joined or left the room. */
export interface PresenceEvent {
  type: "presence.joined" | "presence.left";
  userId: string;
}

const connection = z.object({ connections: z.number(), since: z.number() });
type UserConnection = z.infer<typeof connection>;

const EPOCH = "epoch";
const EPOCH_OF = "epoch:";
const GATEWAY = "gateway:";
const PRESENT = "present:";

/**
 * The followers of a room: the gateways that have subscribers, and for each gateway (or the room's own
 * sockets) its users and their number of sockets. Each is stored under a key of its own, so that a room
 * without events, as most users' own rooms are, needs no tables (decision 0028).
 */
export class RoomMembers {
  private readonly kv: SyncKvStorage;
  private readonly keys: { epoch: string; gateway: string; present: string };
  /** `null` until an epoch is stored. */
  private storedEpoch: string | null;

  /** @param room the room's name if the object keeps several rooms, otherwise `null` */
  constructor(kv: SyncKvStorage, room: string | null) {
    this.kv = kv;
    const prefix = room === null ? "" : `${room}\n`;
    this.keys = {
      epoch: room === null ? EPOCH : EPOCH_OF + room,
      gateway: GATEWAY + prefix,
      present: PRESENT + prefix,
    };
    this.storedEpoch = kv.get<string>(this.keys.epoch) ?? null;
  }

  /** The names of the rooms that have anything stored, in an object that keeps several. */
  static rooms(kv: SyncKvStorage): string[] {
    return [...kv.list({ prefix: EPOCH_OF })].map(([key]) => key.slice(EPOCH_OF.length));
  }

  /** The epoch of the room's events. Makes one if there is none, also before the first event. */
  epoch(): string {
    if (this.storedEpoch !== null) return this.storedEpoch;
    const made = crypto.randomUUID().slice(0, 8);
    this.kv.put(this.keys.epoch, made);
    this.storedEpoch = made;
    return made;
  }

  knownEpoch(): string | null {
    return this.storedEpoch;
  }

  gateways(): string[] {
    const prefix = this.keys.gateway;
    // Read to the end: a list that is not keeps the tables locked.
    return [...this.kv.list({ prefix })].map(([key]) => key.slice(prefix.length));
  }

  addGateway(name: string): void {
    this.kv.put(this.keys.gateway + name, true);
  }

  dropGateway(name: string): void {
    this.kv.delete(this.keys.gateway + name);
  }

  /** Deletes everything that is stored about the room's followers. */
  erase(): void {
    const { epoch, gateway, present } = this.keys;
    this.kv.delete(epoch);
    this.storedEpoch = null;
    for (const prefix of [gateway, present]) {
      for (const [key] of [...this.kv.list({ prefix })]) this.kv.delete(key);
    }
  }

  /**
   * Stores how many sockets users have over `via` now, and returns who joined or left the room by that: a
   * user who is still there over another gateway has not left.
   *
   * @param via a gateway's name; empty for the room's own sockets
   */
  change(via: string, changes: readonly PresenceChange[], now: number): PresenceEvent[] {
    return changes.flatMap(({ userId, connections }): PresenceEvent[] => {
      const key = this.keyOf(userId, via);
      const before = this.read(key);
      if ((before?.connections ?? 0) === connections) return [];
      const wasThere = before !== null || this.isThere(userId);
      if (connections === 0) this.kv.delete(key);
      else this.kv.put(key, { connections, since: before?.since ?? now });
      const isThere = connections > 0 || this.isThere(userId);
      if (wasThere === isThere) return [];
      return [{ type: isThere ? "presence.joined" : "presence.left", userId }];
    });
  }

  /** The users who are stored as present over `via`, and missing from the list of those who are. */
  absent(via: string, present: readonly PresenceChange[]): string[] {
    const named = new Set(present.map(({ userId }) => userId));
    const stored = this.connections().filter((user) => user.via === via);
    return stored.map(({ userId }) => userId).filter((userId) => !named.has(userId));
  }

  /** Every user once, the one who joined first first. */
  roster(): ({ userId: string } & UserConnection)[] {
    const users = new Map<string, UserConnection>();
    for (const { userId, connections, since } of this.connections()) {
      const known = users.get(userId);
      users.set(userId, {
        connections: connections + (known?.connections ?? 0),
        since: Math.min(since, known?.since ?? since),
      });
    }
    const roster = [...users].map(([userId, total]) => ({ userId, ...total }));
    return roster.sort((a, b) => a.since - b.since || (a.userId < b.userId ? -1 : 1));
  }

  private isThere(userId: string): boolean {
    // Read to the end: a list that is not keeps the tables locked.
    return [...this.kv.list({ prefix: this.keyOf(userId, ""), limit: 1 })].length > 0;
  }

  /** Every user once for each gateway, and once for the room's own sockets. */
  connections(): ({ userId: string; via: string } & UserConnection)[] {
    const prefix = this.keys.present;
    // Read to the end: a list that is not keeps the tables locked.
    return [...this.kv.list({ prefix })].map(([key, value]) => {
      const [userId = "", via = ""] = key.slice(prefix.length).split("\n");
      return { userId, via, ...connection.parse(value) };
    });
  }

  private read(key: string): UserConnection | null {
    return connection.safeParse(this.kv.get(key)).data ?? null;
  }

  /** A line break separates the parts, as neither a room's name nor a user's id can contain one. */
  private keyOf(userId: string, via: string): string {
    return `${this.keys.present}${userId}\n${via}`;
  }
}
