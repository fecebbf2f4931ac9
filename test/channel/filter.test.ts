import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wants } from "../../src/channel/filter.ts";
import { spend } from "../../src/objects/rate-limiter.ts";
import { parseAddress, roomName } from "../../src/protocol/address.ts";

const event = {
  type: "workflow.progress",
  data: { progress: 5, owner: { name: "ann", tags: ["a"] }, done: false, note: null },
};

describe("a filter of events", () => {
  it("lets every event pass if it is empty or missing", () => {
    expect(wants(null, event)).toBe(true);
    expect(wants({}, event)).toBe(true);
  });

  it("selects types, whole or by their prefix (R7)", () => {
    for (const type of ["workflow.progress", "workflow.*", "*"]) {
      expect(wants({ types: ["other", type] }, event), type).toBe(true);
    }
    for (const type of ["workflow", "workflow.pro", "work*.progress"]) {
      expect(wants({ types: [type] }, event), type).toBe(false);
    }
  });

  it("selects events whose fields exist and equal one of the values (R7)", () => {
    const fitting = { progress: 5, "owner.name": ["bob", "ann"], done: false, note: null };
    expect(wants({ where: fitting }, event)).toBe(true);
    const unfitting: Record<string, string | null | string[]>[] = [
      { progress: "5" },
      { "owner.name": ["bob"] },
      { "owner.age": null },
      { "owner.name.first": "ann" },
      { "owner.tags": "a" },
      { "owner.tags.0": "a" },
      { toString: "x" },
      { "__proto__.x": null },
    ];
    for (const where of unfitting) {
      expect(wants({ where: { ...fitting, ...where } }, event), JSON.stringify(where)).toBe(false);
    }
  });
});

describe("the address of a channel", () => {
  it("is the address of a room, a space or a job (R4a)", () => {
    expect(parseAddress("global")).toEqual({ kind: "room", name: "global" });
    expect(parseAddress("user:a@b.c")).toEqual({ kind: "room", name: "user:a@b.c" });
    expect(parseAddress("space:demo")).toEqual({ kind: "space", name: "demo" });
    for (const id of ["demo.01KA7Z3QK0ABCDEFGHJKMNPQRS", "01KA7Z3QK0ABCDEFGHJKMNPQRS", "r_4-2"]) {
      expect(parseAddress(`job:${id}`)).toEqual({ kind: "job", id });
    }
  });

  it("may be the room of any user that a token can name", () => {
    expect(roomName.safeParse("user:auth0|5f7c").success).toBe(true);
    expect(parseAddress("user:auth0|5f7c")).toEqual({ kind: "room", name: "user:auth0|5f7c" });
  });

  it("is nothing else (R4a)", () => {
    for (const text of [
      "",
      "x",
      "Global",
      "a:",
      ":a",
      "a b:c",
      "a:b c",
      "a:b/c",
      "a:ü",
      "job:",
      "job:monitor",
      "job:demo.01K",
      "job:Demo.01KA7Z3QK0ABCDEFGHJKMNPQRS",
      "job:a b",
      `job:${"x".repeat(65)}`,
      "space:",
      "space:Demo",
      "space:a/b",
      `space:${"x".repeat(64)}`,
      "room:a",
    ]) {
      expect(parseAddress(text), text).toBe(null);
    }
  });
});

describe("the bound on a client's frames", () => {
  it("allows a burst, and in the long run no more than its rate (R14a)", () =>
    fc.assert(
      fc.property(fc.array(fc.nat(300), { minLength: 50, maxLength: 400 }), (gaps) => {
        const rate = { burst: 20, perSecond: 10 };
        let bucket: ReturnType<typeof spend> = null;
        let [now, passed] = [0, 0];
        for (const gap of gaps) {
          now += gap;
          const next = spend(bucket, rate, now);
          if (!next) continue;
          bucket = next;
          passed += 1;
        }
        expect(passed).toBeLessThanOrEqual(20 + (now / 1_000) * 10 + 1);
        expect(passed).toBeGreaterThanOrEqual(Math.min(gaps.length, 20));
      }),
    ));
});
