import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callerFor } from "../../src/auth/caller.ts";
import { grantToken, signToken } from "../../src/auth/mint-token.ts";
import { jobReaderOf, mayPublish, maySubscribe, type Principal } from "../../src/auth/principal.ts";
import { sessionPrincipal, socketPrincipalOf } from "../../src/auth/session.ts";
import { verifyToken } from "../../src/auth/token.ts";
import { type MintTokenBody, mintTokenBody } from "../../src/protocol/accounts.ts";

type Asker = Parameters<typeof grantToken>[0];

const SECRET = "a-secret-for-the-tokens-of-tests";
const operator: Asker = { kind: "operator" };
const session = (role: "admin" | "member"): Asker => ({
  kind: "account",
  userId: "ann",
  role,
  sessionId: "s1",
  expiresAt: 0,
});
const key = (
  role: "admin" | "member",
  scopes: string[],
  more: Partial<Extract<Asker, { kind: "key" }>> = {},
): Asker => {
  const own = { keyId: "k1", userId: "ann", space: null, expiresAt: null };
  return { kind: "key", role, scopes, ...own, ...more };
};
const ask = (body: Partial<MintTokenBody>) => mintTokenBody.parse(body);

describe("a token that somebody makes", () => {
  it("is their own, with their own rooms, unless they are an admin", () => {
    const member = session("member");
    expect(grantToken(member, ask({}))).toMatchObject({ ok: true, userId: "ann", rooms: [] });
    expect(grantToken(member, ask({ rooms: ["global", "user:ann"] }))).toMatchObject({ ok: true });
    const excesses: Partial<MintTokenBody>[] = [
      { user: "bob" },
      { rooms: ["user:bob"] },
      { rooms: ["user:*"] },
      { rooms: ["*"] },
      { publish: ["user:ann"] },
      { spaces: ["demo"] },
    ];
    for (const body of excesses) {
      expect(grantToken(member, ask(body)), JSON.stringify(body)).toMatchObject({ ok: false });
      const admin = { ...ask(body), user: body.user ?? "bob" };
      expect(grantToken(session("admin"), admin)).toMatchObject({ ok: true });
      expect(grantToken(operator, admin)).toMatchObject({ ok: true });
    }
    expect(grantToken(operator, ask({}))).toMatchObject({ ok: false });
  });

  it("has no more than the scopes of an admin's key", () => {
    const all = key("admin", ["rooms:read:*", "rooms:publish:project:*"]);
    const body = { user: "bob", rooms: ["agent:*"], publish: ["project:1", "project:*"] };
    expect(grantToken(all, ask(body))).toMatchObject({ ok: true, userId: "bob" });
    expect(grantToken(all, ask({ user: "bob", publish: ["agent:1"] }))).toMatchObject({
      ok: false,
    });
    expect(grantToken(all, ask({ user: "bob", spaces: ["demo"] }))).toMatchObject({ ok: false });
    const some = key("admin", ["rooms:read:project:*"]);
    // Every token of bob's follows his own room.
    expect(grantToken(some, ask({ user: "bob" }))).toMatchObject({
      ok: false,
      reason: expect.stringContaining("rooms:read:global"),
    });
  });

  it("names spaces only if an admin's key may change all spaces", () => {
    const scopes = ["rooms:read:*", "spaces:admin"];
    const body = ask({ user: "bob", spaces: ["demo"] });
    expect(grantToken(key("admin", scopes), body)).toMatchObject({ ok: true, spaces: ["demo"] });
    expect(grantToken(key("admin", scopes, { space: "demo" }), body)).toMatchObject({ ok: false });
    expect(grantToken(key("member", scopes), ask({ spaces: ["demo"] }))).toMatchObject({
      ok: false,
    });
  });

  it("lets its user do with jobs what its maker's key may, and no more", async () => {
    for (const scopes of [[], ["jobs:read"], ["jobs:write"], ["jobs:read", "jobs:write"]]) {
      const maker = key("member", ["rooms:read:*", ...scopes]);
      const grant = grantToken(maker, ask({}));
      if (!grant.ok) throw new Error(grant.reason);
      const exp = Math.floor(Date.now() / 1_000) + 60;
      const made = await verifyToken(
        { JWT_SECRET: SECRET },
        await signToken({ JWT_SECRET: SECRET }, grant, exp),
      );
      if (!made.ok) throw new Error(made.reason);
      // Also once it has been stored with a socket.
      for (const principal of [made.user, socketPrincipalOf(made.user)]) {
        if (principal === null) throw new Error("a user's token is somebody's");
        const { mayRead, mayWrite, mayManage } = callerFor(sessionPrincipal.parse(principal));
        expect({ mayRead, mayWrite, mayManage }).toEqual({
          mayRead: scopes.includes("jobs:read"),
          mayWrite: scopes.includes("jobs:write"),
          mayManage: false,
        });
        expect(jobReaderOf(principal)).toBe(scopes.includes("jobs:read") ? "ann" : null);
      }
    }
  });

  it("is made by no key for one space, which covers no rooms", () => {
    const scopes = ["rooms:read:*", "rooms:publish:*"];
    for (const role of ["admin", "member"] as const) {
      const narrow = key(role, scopes, { space: "demo" });
      expect(grantToken(narrow, ask({}))).toMatchObject({ ok: false });
    }
  });

  it("never has a right that its maker lacks", () => {
    const room = fc.constantFrom(
      "*",
      "global",
      "user:ann",
      "user:bob",
      "user:*",
      "project:1",
      "project:*",
      "project:12",
      "job:1",
      "job:*",
    );
    const rooms = fc.array(room, { maxLength: 3 });
    const scope = fc.oneof(
      room.map((name) => `rooms:read:${name}`),
      room.map((name) => `rooms:publish:${name}`),
      fc.constantFrom("jobs:read", "jobs:write", "spaces:admin", "metrics:read"),
    );
    const role = fc.constantFrom("admin" as const, "member" as const);
    const asker = fc.oneof(
      role.map(session),
      fc.tuple(role, fc.array(scope, { maxLength: 5 })).map(([as, scopes]) => key(as, scopes)),
    );
    const body = fc.record(
      { user: fc.constantFrom("ann", "bob"), rooms, publish: rooms },
      { requiredKeys: [] },
    );
    const addresses = [
      "global",
      "user:ann",
      "user:bob",
      "user:carl",
      "project:1",
      "project:12",
      "agent:1",
      "job:1",
      "job:2",
    ];
    fc.assert(
      fc.property(asker, body, (who, wanted) => {
        const grant = grantToken(who, ask(wanted));
        if (!grant.ok) return;
        const { userId, rooms, publish } = grant;
        const made: Principal = { kind: "user", userId, expiresAt: 0, rooms, publish };
        for (const address of addresses) {
          if (maySubscribe(made, address)) expect(maySubscribe(who, address)).toBe(true);
          if (mayPublish(made, address)) expect(mayPublish(who, address)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("is one that this edge takes, with the issuer and audience that it asks for", async () => {
    const settings = { JWT_SECRET: SECRET, JWT_ISSUER: "us", JWT_AUDIENCE: "dialout" };
    const exp = Math.floor(Date.now() / 1_000) + 60;
    const rights = { userId: "bob", rooms: ["a:*"], publish: ["a:1"], spaces: [], without: [] };
    const token = await signToken(settings, { ok: true, ...rights }, exp);
    expect(await verifyToken(settings, token)).toEqual({
      ok: true,
      user: {
        kind: "user",
        userId: "bob",
        expiresAt: exp * 1_000,
        rooms: ["a:*"],
        publish: ["a:1"],
        spaces: [],
      },
    });
    expect((await verifyToken({ JWT_SECRET: SECRET, JWT_ISSUER: "x" }, token)).ok).toBe(false);
  });
});
