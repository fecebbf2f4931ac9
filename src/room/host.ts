import { shardOf } from "../objects/shard.ts";

/** How many objects keep users' own rooms. If it changed, what they have stored would no longer be found. */
const USER_HOSTS = 64;

/** The prefix of their names. No room's name can contain a `*`. */
const USER_HOST = "user:*";

/**
 * The name of the object that keeps a room. Every room has an object of its own, except that users' own
 * rooms share a few: each connected user has one, most of them never have an event, and an object with a
 * database costs far more than such a room (decision 0028).
 */
export function hostOf(room: string): string {
  if (!room.startsWith("user:")) return room;
  return USER_HOST + shardOf(room, USER_HOSTS);
}

/** Whether the object of this name keeps several rooms. */
export function isShared(host: string): boolean {
  return host.startsWith(USER_HOST);
}
