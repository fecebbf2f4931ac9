/** How many objects keep the own rooms of all users; a change would leave what they keep behind. */
const USER_HOSTS = 64;

/** No room's name has a `*`. */
const USER_HOST = "user:*";

/**
 * The object that keeps a room. Each has its own, but users' own rooms share a few: there are as many as
 * users connected, most of them never have an event, and an object with a database for each costs more
 * than all that is in them.
 */
export function hostOf(room: string): string {
  if (!room.startsWith("user:")) return room;
  return USER_HOST + (hashOf(room) % USER_HOSTS);
}

/** Whether an object keeps many rooms. */
export function isShared(host: string): boolean {
  return host.startsWith(USER_HOST);
}

/** FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0;
}
