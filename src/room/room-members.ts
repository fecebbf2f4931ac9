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
const GATEWAY = "gateway:";
const PRESENT = "present:";

/**
 * Who follows a room: the gateways with its subscribers, and its users with the number of their sockets
 * over each. Kept as single values, so that a room that is only followed, as every user's own is, needs
 * no tables.
 */
export class RoomMembers {
  private readonly kv: SyncKvStorage;

  constructor(kv: SyncKvStorage) {
    this.kv = kv;
  }

  /** The epoch of the room's events, the first of which may be still to come. */
  epoch(): string {
    const known = this.kv.get<string>(EPOCH);
    if (known !== undefined) return known;
    const made = crypto.randomUUID().slice(0, 8);
    this.kv.put(EPOCH, made);
    return made;
  }

  knownEpoch(): string | null {
    return this.kv.get<string>(EPOCH) ?? null;
  }

  gateways(): string[] {
    return [...this.kv.list({ prefix: GATEWAY })].map(([key]) => key.slice(GATEWAY.length));
  }

  addGateway(name: string): void {
    this.kv.put(GATEWAY + name, true);
  }

  dropGateway(name: string): void {
    this.kv.delete(GATEWAY + name);
  }

  /** Stores who is there over `via` now, and tells who came to the room or left it by that. */
  moved(via: string, changes: readonly PresenceChange[], now: number): Move[] {
    return changes.flatMap(({ userId, connections }): Move[] => {
      const key = keyOf(userId, via);
      const before = this.read(key);
      if ((before?.connections ?? 0) === connections) return [];
      const wasThere = before !== null || this.isThere(userId);
      if (connections === 0) this.kv.delete(key);
      else this.kv.put(key, { connections, since: before?.since ?? now });
      const isThere = this.isThere(userId);
      if (wasThere === isThere) return [];
      return [{ type: isThere ? "presence.joined" : "presence.left", userId }];
    });
  }

  /** The same, where nobody else is there over `via`. */
  replaced(via: string, present: readonly PresenceChange[], now: number): Move[] {
    const named = new Set(present.map(({ userId }) => userId));
    const gone = this.places().filter((one) => one.via === via && !named.has(one.userId));
    const changes = gone.map(({ userId }) => ({ userId, connections: 0 }));
    return this.moved(via, [...changes, ...present], now);
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
    const [first] = this.kv.list({ prefix: keyOf(userId, ""), limit: 1 });
    return first !== undefined;
  }

  private places(): ({ userId: string; via: string } & Place)[] {
    return [...this.kv.list({ prefix: PRESENT })].map(([key, value]) => {
      const [userId = "", via = ""] = key.slice(PRESENT.length).split("\n");
      return { userId, via, ...place.parse(value) };
    });
  }

  private read(key: string): Place | null {
    return place.safeParse(this.kv.get(key)).data ?? null;
  }
}

/** No user's id has a line break in it. */
function keyOf(userId: string, via: string): string {
  return `${PRESENT}${userId}\n${via}`;
}
