import { userIdOf } from "../auth/session.ts";
import { byteLength } from "../protocol/codec.ts";
import { iso } from "../protocol/iso.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Sql } from "../storage/sql.ts";
import type { PresenceChange, PresencePage, PresentUser } from "./calls.ts";
import { PresenceGrace } from "./presence-grace.ts";
import type { PresenceEvent, RoomMembers } from "./room-members.ts";
import type { RoomSocket, RoomSockets } from "./room-sockets.ts";

interface RoomPresenceDeps {
  sql: Sql;
  members: RoomMembers;
  sockets: RoomSockets;
  /** Sends subscribers who joined and left. */
  send: (events: readonly PresenceEvent[], gateways?: readonly string[]) => void;
  /** Makes the object call `settle` at this time, milliseconds since 1970. */
  arm: (at: number) => void;
}

/** The connection of users whose sockets belong to the room itself; all others come over a gateway. */
const OWN_SOCKETS = "";

/**
 * Who is in a room. A user whose socket dropped is given a moment to come back before others are told
 * (decision 0038): for the room's own sockets that is done here, and gateways do it for theirs. Whoever is
 * missing without a report gets that moment here too: the object or a gateway may have stopped.
 */
export class RoomPresence {
  private readonly deps: RoomPresenceDeps;
  private readonly grace: PresenceGrace;

  constructor(deps: RoomPresenceDeps) {
    this.deps = deps;
    this.grace = new PresenceGrace(deps.arm);
  }

  /** Whether some users may still come back. */
  get isWaiting(): boolean {
    return this.grace.size > 0;
  }

  dueAt(): number | null {
    return this.grace.dueAt();
  }

  /** Looks for users whose sockets were lost when the object stopped: nobody saw them close. */
  restore(): void {
    const { members, sockets } = this.deps;
    const present = sockets.present();
    const users = new Set(present.map(({ userId }) => userId));
    const gateways = new Set(members.gateways());
    for (const { userId, via } of members.connections()) {
      const isKnown = via === OWN_SOCKETS ? users.has(userId) : gateways.has(via);
      if (!isKnown) this.grace.start(keyOf(userId, via), Date.now());
    }
    this.store((now) => this.change(OWN_SOCKETS, present, now));
  }

  /** @param gateways those that are told; all if not given */
  join(gateway: string, present: readonly PresenceChange[], gateways: readonly string[]): void {
    const { members } = this.deps;
    if (members.gateways().includes(gateway)) {
      this.replace(gateway, present, gateways);
      return;
    }
    this.store((now) => {
      members.addGateway(gateway);
      return this.change(gateway, present, now);
    }, gateways);
  }

  /** A gateway has no subscribers of the room any more. @param isSure its users will not come back over it */
  dropGateway(gateway: string, isSure: boolean): void {
    this.deps.members.dropGateway(gateway);
    this.replaceAll(gateway, [], isSure);
  }

  /** Sets who is in the room over a gateway. @param isSure whoever is missing is gone, and has had time to return */
  replaceAll(gateway: string, present: readonly PresenceChange[], isSure: boolean): void {
    if (!isSure) {
      this.replace(gateway, present);
      return;
    }
    const absent = this.deps.members.absent(gateway, present);
    const gone = absent.map((userId) => ({ userId, connections: 0 }));
    this.store((now) => this.change(gateway, [...gone, ...present], now));
  }

  /** Users joined or left over a gateway. */
  report(gateway: string, changes: readonly PresenceChange[]): void {
    if (!this.deps.members.gateways().includes(gateway)) return;
    this.store((now) => this.change(gateway, changes, now));
  }

  onOpen({ attachment }: RoomSocket): void {
    const userId = userIdOf(attachment.principal);
    // While they are waited for they are still stored as present, so a return costs no write.
    if (userId !== null && !this.grace.has(keyOf(userId, OWN_SOCKETS))) this.storeOwn(userId);
  }

  /** @param isLeaving the client is done; otherwise its connection broke, and it may be back soon */
  onClose({ attachment }: RoomSocket, isLeaving: boolean): void {
    const userId = userIdOf(attachment.principal);
    if (userId === null) return;
    const key = keyOf(userId, OWN_SOCKETS);
    if (!isLeaving) this.grace.start(key, Date.now());
    // Another socket of the user may have dropped just before.
    else if (!this.grace.has(key)) this.storeOwn(userId);
  }

  /** A client left while the object hibernated, so that its socket was already missing when the object woke. */
  onLateLeave({ attachment }: RoomSocket): void {
    const userId = userIdOf(attachment.principal);
    if (userId === null) return;
    this.grace.cancel(keyOf(userId, OWN_SOCKETS));
    this.storeOwn(userId);
  }

  /** Stores and tells who has not come back in time. */
  settle(now: number): void {
    const over = this.grace.takeOver(now);
    if (over.length === 0) return;
    const { members, sockets } = this.deps;
    this.store(() =>
      over.flatMap((key) => {
        const [userId = "", via = ""] = key.split("\n");
        const connections = via === OWN_SOCKETS ? sockets.countOf(userId) : 0;
        return members.change(via, [{ userId, connections }], now);
      }),
    );
  }

  /** The users in the room, the one who joined first first. */
  roster(): PresentUser[] {
    return this.deps.members.roster().map(presentUser);
  }

  /** The users after a place in the roster, as many as a page may have. */
  page(after: string | null): PresencePage {
    const roster = this.deps.members.roster();
    const connections = roster.reduce((sum, user) => sum + user.connections, 0);
    const start = after === null ? null : placeOf(after);
    const rest = start === null ? roster : roster.filter((user) => isBehind(user, start));
    let bytes = 0;
    const end = rest.findIndex((user, index) => {
      bytes += byteLength(JSON.stringify(presentUser(user))) + 1;
      return index > 0 && bytes > LIMITS.presenceBytes;
    });
    const page = end < 0 ? rest : rest.slice(0, end);
    const last = end < 0 ? undefined : page.at(-1);
    const next = last === undefined ? null : `${last.since}:${last.userId}`;
    return { users: page.map(presentUser), connections, total: roster.length, next };
  }

  private storeOwn(userId: string): void {
    const { members, sockets } = this.deps;
    const connections = sockets.countOf(userId);
    this.store((now) => members.change(OWN_SOCKETS, [{ userId, connections }], now));
  }

  private replace(
    via: string,
    present: readonly PresenceChange[],
    gateways?: readonly string[],
  ): void {
    const now = Date.now();
    for (const userId of this.deps.members.absent(via, present)) {
      const key = keyOf(userId, via);
      // Being missed again does not give a user more time.
      if (!this.grace.has(key)) this.grace.start(key, now);
    }
    this.store((now) => this.change(via, present, now), gateways);
  }

  /** What is reported of a user replaces what was still awaited. */
  private change(via: string, changes: readonly PresenceChange[], now: number): PresenceEvent[] {
    for (const { userId } of changes) this.grace.cancel(keyOf(userId, via));
    return this.deps.members.change(via, changes, now);
  }

  private store(change: (now: number) => PresenceEvent[], gateways?: readonly string[]): void {
    const events = this.deps.sql.transaction(() => change(Date.now()));
    this.deps.send(events, gateways);
  }
}

interface Place {
  userId: string;
  since: number;
}

function placeOf(after: string): Place {
  const at = after.indexOf(":");
  return { since: Number(after.slice(0, at)), userId: after.slice(at + 1) };
}

/** Whether a user comes later in the roster. */
function isBehind({ userId, since }: Place, place: Place): boolean {
  return since > place.since || (since === place.since && userId > place.userId);
}

function presentUser(user: Place & { connections: number }): PresentUser {
  return { user_id: user.userId, connections: user.connections, since: iso(user.since) };
}

/** A line break separates the parts, as neither a user's id nor a gateway's name can contain one. */
function keyOf(userId: string, via: string): string {
  return `${userId}\n${via}`;
}
