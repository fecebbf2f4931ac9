import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { roomName } from "../../src/protocol/address.ts";
import { hostOf, isShared } from "../../src/room/host.ts";

const userRooms = fc.stringMatching(/^[\w.@|-]{1,128}$/).map((id) => `user:${id}`);
const otherRooms = fc
  .tuple(fc.constantFrom("project", "agent", "users", "u"), fc.stringMatching(/^[\w.@|-]{1,40}$/))
  .map(([kind, id]) => `${kind}:${id}`);

describe("the object that keeps a room", () => {
  it("is one of 64 for a user's own room, under a name that no room can have", () => {
    fc.assert(
      fc.property(userRooms, (room) => {
        const host = hostOf(room);
        expect(isShared(host)).toBe(true);
        expect(hostOf(room)).toBe(host);
        expect(host).toMatch(/^user:\*(\d|[1-5]\d|6[0-3])$/);
        expect(roomName.safeParse(host).success).toBe(false);
      }),
    );
  });

  it("never changes, because what a room has stored would be lost", () => {
    const hosts = ["alice", "bob", "auth0|5f7c", "1"].map((id) => hostOf(`user:${id}`));
    expect(hosts).toEqual(["user:*16", "user:*3", "user:*35", "user:*11"]);
  });

  it("is one of its own for every other room", () => {
    fc.assert(
      fc.property(otherRooms, (room) => {
        expect(hostOf(room)).toBe(room);
        expect(isShared(room)).toBe(false);
      }),
    );
    expect(hostOf("global")).toBe("global");
  });

  it("gets about as many users as the others", () => {
    const counts = new Map<string, number>();
    for (let n = 0; n < 6_400; n += 1) {
      const host = hostOf(`user:${n}`);
      counts.set(host, (counts.get(host) ?? 0) + 1);
    }
    expect(counts.size).toBe(64);
    expect(Math.max(...counts.values())).toBeLessThan(200);
  });
});
