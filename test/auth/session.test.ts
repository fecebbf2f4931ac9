import { serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import type { Principal } from "../../src/auth/principal.ts";
import { fitsSession } from "../../src/auth/session.ts";
import { attachmentSize } from "../../src/protocol/attachment-size.ts";

function userOf(pattern: string, count: number): Principal {
  const rooms = Array.from({ length: count }, () => pattern);
  return { kind: "user", userId: "ann", expiresAt: 0, rooms, publish: [] };
}

describe("what a token may do", () => {
  it("fits a socket or not by the bytes it takes there, whatever its letters", () => {
    expect(fitsSession(userOf(`project:${"x".repeat(180)}`, 40))).toBe(true);
    expect(fitsSession(userOf(`project:${"x".repeat(180)}`, 44))).toBe(false);
    expect(fitsSession(userOf(`project:${"語".repeat(180)}`, 40))).toBe(false);
  });
});

describe("the bytes a value takes in an attachment", () => {
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
  ])("are never more than counted: %j", (value) => {
    expect(attachmentSize(value)).toBeGreaterThanOrEqual(serialize(value).length - HEADER);
  });
});

/** Two bytes begin whatever is serialized. */
const HEADER = 2;
