import { z } from "zod";
import type { PresenceChange } from "./calls.ts";

/** Somebody came or went. */
export interface Move {
  type: "presence.joined" | "presence.left";
  userId: string;
}

const place = z.object({ connections: z.number(), since: z.number() });
type Place = z.infer<typeof place>;

const EPOCH = "epoch";
const EPOCH_OF = "epoch:";
const GATEWAY = "gateway:";
const PRESENT = "present:";

/**
 * Who follows a room: the gateways with its subscribers, and its users with the number of their sockets
 * over each. Kept as single values, so that a room that is only followed, as every user's own is, needs
 * no tables.
 */
export class RoomMembers {
  private readonly kv: SyncKvStorage;
  private readonly keys: { epoch: string; gateway: string; present: string };
  /** As it is stored, once it is. */
  private storedEpoch: string | null;

  /** @param room its name where the object keeps several rooms, otherwise `null` */
  constructor(kv: SyncKvStorage, room: string | null) {
    this.kv = kv;
    const within = room === null ? "" : `${room}\n`;
    this.keys = {
      epoch: room === null ? EPOCH : EPOCH_OF + room,
      gateway: GATEWAY + within,
      present: PRESENT + within,
    };
    this.storedEpoch = kv.get<string>(this.keys.epoch) ?? null;
  }

  /** The rooms that anything is known of, where the object keeps several. */
  static rooms(kv: SyncKvStorage): string[] {
    return [...kv.list({ prefix: EPOCH_OF })].map(([key]) => key.slice(EPOCH_OF.length));
  }

  /** The epoch of the room's events, the first of which may be still to come. */
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
    // Read to its end: a list that is not keeps a lock on the tables.
    return [...this.kv.list({ prefix })].map(([key]) => key.slice(prefix.length));
  }

  addGateway(name: string): void {
    this.kv.put(this.keys.gateway + name, true);
  }

  dropGateway(name: string): void {
    this.kv.delete(this.keys.gateway + name);
  }

  /** Nothing is known of the room any more. */
  erase(): void {
    const { epoch, gateway, present } = this.keys;
    this.kv.delete(epoch);
    this.storedEpoch = null;
    for (const prefix of [gateway, present]) {
      for (const [key] of [...this.kv.list({ prefix })]) this.kv.delete(key);
    }
  }

  /** Stores who is there over `via` now, and tells who came to the room or left it by that. */
  change(via: string, changes: readonly PresenceChange[], now: number): Move[] {
    return changes.flatMap(({ userId, connections }): Move[] => {
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

  /** The same, where nobody else is there over `via`. */
  replace(via: string, present: readonly PresenceChange[], now: number): Move[] {
    const named = new Set(present.map(({ userId }) => userId));
    const gone = this.places().filter((one) => one.via === via && !named.has(one.userId));
    const changes = gone.map(({ userId }) => ({ userId, connections: 0 }));
    return this.change(via, [...changes, ...present], now);
  }

  /** Every user once, who came first first. */
  roster(): ({ userId: string } & Place)[] {
    const users = new Map<string, Place>();
    for (const { userId, connections, since } of this.places()) {
      const known = users.get(userId);
      users.set(userId, {
        connections: connections + (known?.connections ?? 0),
        since: Math.min(since, known?.since ?? since),
      });
    }
    const roster = [...users].map(([userId, one]) => ({ userId, ...one }));
    return roster.sort((a, b) => a.since - b.since || (a.userId < b.userId ? -1 : 1));
  }

  private isThere(userId: string): boolean {
    // Read to its end: a list that is not keeps a lock on the tables.
    return [...this.kv.list({ prefix: this.keyOf(userId, ""), limit: 1 })].length > 0;
  }

  private places(): ({ userId: string; via: string } & Place)[] {
    const prefix = this.keys.present;
    // Read to its end: a list that is not keeps a lock on the tables.
    return [...this.kv.list({ prefix })].map(([key, value]) => {
      const [userId = "", via = ""] = key.slice(prefix.length).split("\n");
      return { userId, via, ...place.parse(value) };
    });
  }

  private read(key: string): Place | null {
    return place.safeParse(this.kv.get(key)).data ?? null;
  }

  /** No room's name and no user's id has a line break in it. */
  private keyOf(userId: string, via: string): string {
    return `${this.keys.present}${userId}\n${via}`;
  }
}
