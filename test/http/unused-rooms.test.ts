import { describe, expect, it } from "vitest";
import type { Principal } from "../../src/auth/principal.ts";
import { limitUnused, noteUsed } from "../../src/http/unused-rooms.ts";

const NOW = 1_800_000_000_000;

function userOf(userId: string): Principal {
  return { kind: "user", userId, expiresAt: NOW, rooms: ["*"], publish: [] };
}

/** How many rooms somebody may read of at once, of many. */
function allowed(principal: Principal, rooms: readonly string[], now = NOW): number {
  let count = 0;
  for (const room of rooms) {
    try {
      limitUnused(principal, room, now);
    } catch (error) {
      expect(error).toMatchObject({ code: "rate_limited" });
      return count;
    }
    count += 1;
  }
  return count;
}

function roomsOf(test: string, kind = "project"): string[] {
  return Array.from({ length: 100 }, (_, n) => `${kind}:${test}-${n}`);
}

describe("reads of rooms that nobody uses", () => {
  it("are 60 at once for each user, and one a second in the long run", () => {
    const rooms = roomsOf("rate");
    expect(allowed(userOf("ann"), rooms)).toBe(60);
    expect(allowed(userOf("bob"), rooms)).toBe(60);
    expect(allowed(userOf("ann"), rooms, NOW + 5_000)).toBe(5);
  });

  it("are not limited for the operator, nor of users' own rooms", () => {
    expect(allowed({ kind: "operator" }, roomsOf("operator"))).toBe(100);
    expect(allowed(userOf("cyd"), roomsOf("own", "user"))).toBe(100);
  });

  it("don't count if the room turns out to be used, for whoever reads of it then", () => {
    const rooms = roomsOf("used");
    for (const room of rooms) {
      limitUnused(userOf("dan"), room, NOW);
      noteUsed(userOf("dan"), room, NOW);
    }
    expect(allowed(userOf("dan"), roomsOf("unused"))).toBe(60);
    expect(allowed(userOf("dan"), rooms)).toBe(100);
    expect(allowed(userOf("eve"), rooms)).toBe(100);
    expect(allowed(userOf("eve"), roomsOf("more"))).toBe(60);
  });
});
