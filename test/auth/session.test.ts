import { serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import type { Principal } from "../../src/auth/principal.ts";
import { fitsSession, isExpired, type SessionPrincipal } from "../../src/auth/session.ts";
import { attachmentSize } from "../../src/protocol/attachment-size.ts";

function userOf(pattern: string, count: number): Principal {
  const rooms = Array.from({ length: count }, () => pattern);
  return { kind: "user", userId: "ann", expiresAt: 0, rooms, publish: [] };
}

describe("the rights of a token", () => {
  it("fit into a socket's attachment by their size in bytes, not in letters (R2)", () => {
    expect(fitsSession(userOf(`project:${"x".repeat(180)}`, 40))).toBe(true);
    expect(fitsSession(userOf(`project:${"x".repeat(180)}`, 44))).toBe(false);
    expect(fitsSession(userOf(`project:${"語".repeat(180)}`, 40))).toBe(false);
  });
});

describe("the size of a value in an attachment", () => {
  it.each([
    "a",
    "語",
    `${"x".repeat(300)}語`,
    7,
    0.5,
    true,
    null,
    [],
    {},
    Array.from({ length: 100 }, () => 0.5),
    Array.from({ length: 100 }, () => 2 ** 31),
    Array.from({ length: 100 }, () => "語"),
    { types: ["a.*"], where: { "x.y": [1, "two", null, false, 0.25], ü: "ü" } },
  ])("is never larger than estimated: %j", (value) => {
    expect(attachmentSize(value)).toBeGreaterThanOrEqual(serialize(value).length - HEADER);
  });
});

/** Every serialized value begins with two bytes of header. */
const HEADER = 2;

describe("what a socket was opened with", () => {
  it("expires for tokens, sessions and keys alike; the operator's key doesn't (R11d)", () => {
    const of: SessionPrincipal[] = [
      { kind: "user", userId: "ann", expiresAt: 1_000, rooms: [], publish: [] },
      { kind: "account", userId: "ann", role: "member", sessionId: "s", expiresAt: 1_000 },
      {
        kind: "key",
        keyId: "k",
        userId: "ann",
        role: "member",
        scopes: [],
        space: null,
        expiresAt: 1_000,
      },
    ];
    expect(of.map((principal) => isExpired(principal, 999))).toEqual([false, false, false]);
    expect(of.map((principal) => isExpired(principal, 1_000))).toEqual([true, true, true]);
    expect(isExpired({ kind: "operator" }, Number.MAX_SAFE_INTEGER)).toBe(false);
  });
});
