import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { publishBody, publishedEvent } from "../../src/protocol/room-events.ts";

function issuesOf(event: unknown): [string, string][] {
  const result = publishedEvent.safeParse(event);
  return (result.error?.issues ?? []).map(({ path, message }) => [path.join("."), message]);
}

describe("the type of an event", () => {
  it.each(["constructor", "toString", "__proto__", "hasOwnProperty"])(
    "must not be a name that every object has: %s",
    (type) => {
      expect(issuesOf({ type, data: {} })).toEqual([["type", expect.stringContaining("<name>.")]]);
    },
  );

  it.each([
    "connection.established",
    "connection.error",
    "connection.expiring",
    "connection.anything",
    "presence.joined",
    "presence.left",
    "presence.a.b",
  ])("must not begin like those that are reserved for the edge: %s (R9b)", (type) => {
    expect(issuesOf({ type })).toEqual([["type", "is reserved for the edge"]]);
  });

  it.each(["connections.opened", "user.connection", "presences.x"])("may be %s", (type) => {
    expect(issuesOf({ type })).toEqual([]);
  });
});

describe("the data of an event", () => {
  const sized = (bytes: number) => ({ text: "x".repeat(bytes - '{"text":""}'.length) });

  it("may have 262,144 bytes and no more (R9b)", () => {
    expect(issuesOf({ type: "a.b", data: sized(LIMITS.eventBytes) })).toEqual([]);
    const tooLarge = [["data", expect.stringContaining("262144 bytes at most")]];
    expect(issuesOf({ type: "a.b", data: sized(LIMITS.eventBytes + 1) })).toEqual(tooLarge);
    const wide = { text: "語".repeat(LIMITS.eventBytes / 3) };
    expect(issuesOf({ type: "a.b", data: wide })).toEqual(tooLarge);
  });

  it("is reported with its index if it is too large and among several", () => {
    const events = [{ type: "a.b" }, { type: "a.b", data: sized(LIMITS.eventBytes + 1) }];
    const { error } = publishBody.safeParse({ events });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual(["events.1.data"]);
  });
});
