import type { RoomStore } from "../storage/room-store.ts";
import type { PresenceChange } from "./calls.ts";

/** Somebody came or went. */
export interface Move {
  type: "presence.joined" | "presence.left";
  userId: string;
}

/** Stores who is there over `via` now, and tells who came to the room or left it by that. */
export function applyPresence(
  store: RoomStore,
  via: string,
  changes: readonly PresenceChange[],
  now: number,
): Move[] {
  return changes.flatMap(({ userId, connections }): Move[] => {
    const before = store.presenceOf(userId);
    store.setPresence({ userId, via, connections, since: now });
    const after = store.presenceOf(userId);
    if (before === 0 && after > 0) return [{ type: "presence.joined", userId }];
    if (before > 0 && after === 0) return [{ type: "presence.left", userId }];
    return [];
  });
}

/** Makes `changes` such that nobody but those in them is there over `via`. */
export function replacing(
  store: RoomStore,
  via: string,
  present: readonly PresenceChange[],
): PresenceChange[] {
  const named = new Set(present.map(({ userId }) => userId));
  const gone = store.presentVia(via).filter((userId) => !named.has(userId));
  return [...gone.map((userId) => ({ userId, connections: 0 })), ...present];
}

/** Who is in a room, each user once. */
export function rosterOf(store: RoomStore) {
  const users = new Map<string, { connections: number; since: number }>();
  for (const { userId, connections, since } of store.presence()) {
    const known = users.get(userId);
    users.set(userId, {
      connections: connections + (known?.connections ?? 0),
      since: Math.min(since, known?.since ?? since),
    });
  }
  return users;
}
