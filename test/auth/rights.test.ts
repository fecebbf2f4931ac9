import { afterEach, describe, expect, it, vi } from "vitest";
import { mayPublish, maySubscribe, ownRooms, type Principal } from "../../src/auth/principal.ts";
import {
  findExpiringTokens,
  fitsSession,
  renewPrincipal,
  type SessionPrincipal,
  sessionPrincipal,
  socketPrincipalOf,
  tokensDueAt,
  userIdOf,
} from "../../src/auth/session.ts";
import { verifyToken } from "../../src/auth/token.ts";
import { tokenOf } from "../support/tokens.ts";

const SECRET = "a-secret-that-is-long-enough-for-tests";
const NOW = 1_800_000_000_000;

afterEach(() => {
  vi.useRealTimers();
});

type User = Extract<SessionPrincipal, { kind: "user" }>;

function userOf(more: Partial<User> = {}): User {
  return { kind: "user", userId: "ann", expiresAt: NOW, rooms: [], publish: [], ...more };
}

describe("a pattern in a token", () => {
  const ADDRESSES = ["project:1", "project:11", "projects:1", "project", "agent:1", "job:a", "a:*"];

  it.each<[string, string[]]>([
    ["*", ADDRESSES],
    ["project:*", ["project:1", "project:11"]],
    ["project:1", ["project:1"]],
    ["proj*", []],
    ["project:1*", []],
    ["*:1", []],
    ["", []],
    [":*", []],
    ["project", ["project"]],
    ["a:*", ["a:*"]],
  ])("%j names an address, `<kind>:*`, or everything", (pattern, named) => {
    const follower = userOf({ rooms: [pattern] });
    const publisher = userOf({ publish: [pattern] });
    expect(ADDRESSES.filter((address) => maySubscribe(follower, address))).toEqual(named);
    expect(ADDRESSES.filter((address) => mayPublish(publisher, address))).toEqual(named);
    expect(ADDRESSES.filter((address) => maySubscribe(publisher, address))).toEqual([]);
    expect(ADDRESSES.filter((address) => mayPublish(follower, address))).toEqual([]);
  });

  it("is not needed for `global` and the user's own room, to follow them", () => {
    expect(ownRooms("ann")).toEqual(["global", "user:ann"]);
    for (const room of ownRooms("ann")) {
      expect([maySubscribe(userOf(), room), mayPublish(userOf(), room)]).toEqual([true, false]);
    }
    expect(maySubscribe(userOf(), "user:anna")).toBe(false);
  });
});

describe("what the socket of a user keeps", () => {
  it("is the user's rights and their end, and nothing of anybody without a token", () => {
    const user = userOf({ rooms: ["a:1"], publish: ["b:2"] });
    expect(socketPrincipalOf({ ...user, more: 1 } as Principal)).toEqual(user);
    expect(sessionPrincipal.parse(socketPrincipalOf(user))).toEqual(user);
    expect(socketPrincipalOf({ kind: "operator" })).toEqual({ kind: "operator" });
    expect(socketPrincipalOf({ kind: "anonymous" })).toBeNull();
    expect([userIdOf(user), userIdOf({ kind: "operator" })]).toEqual(["ann", null]);
  });

  it("has at most 8,192 bytes of rights, to follow and to publish together (R2)", () => {
    // Each of these takes 200 bytes, and each list 8.
    const patterns = (count: number) => Array.from({ length: count }, () => "x".repeat(195));
    const fits = (rooms: number, publish: number) =>
      fitsSession(userOf({ rooms: patterns(rooms), publish: patterns(publish) }));
    expect([fits(40, 0), fits(0, 40), fits(20, 20)]).toEqual([true, true, true]);
    expect([fits(41, 0), fits(0, 41), fits(21, 20), fits(20, 21)]).toEqual(Array(4).fill(false));
    const exactly = [...patterns(40), "x".repeat(8_192 - 8_024 - 5)];
    expect(fitsSession(userOf({ rooms: exactly }))).toBe(true);
    expect(fitsSession(userOf({ rooms: [...exactly.slice(1), "x".repeat(196)] }))).toBe(false);
  });

  it("is no question for the operator, or for somebody without a token", () => {
    expect([fitsSession({ kind: "operator" }), fitsSession({ kind: "anonymous" })]).toEqual([
      true,
      true,
    ]);
  });
});

function socketOf(expiresAt: number | null, noticed = false) {
  const principal = expiresAt === null ? ({ kind: "operator" } as const) : userOf({ expiresAt });
  return { attachment: { principal, noticed } };
}

describe("the tokens of sockets", () => {
  it("are due 30 seconds before their end, and at their end once that was announced (R11)", () => {
    expect(tokensDueAt([])).toBeNull();
    expect(tokensDueAt([socketOf(null)])).toBeNull();
    expect(tokensDueAt([socketOf(NOW)])).toBe(NOW - 30_000);
    expect(tokensDueAt([socketOf(NOW, true)])).toBe(NOW);
    expect(tokensDueAt([socketOf(NOW + 9), socketOf(null), socketOf(NOW), socketOf(NOW + 1)])).toBe(
      NOW - 30_000,
    );
  });

  it("are announced once, and expired from their end on (R11)", () => {
    const at = (now: number, noticed = false) => {
      const { expired, expiring } = findExpiringTokens([socketOf(NOW, noticed)], now);
      return [expired.length, expiring.map(({ expiresAt }) => expiresAt)];
    };
    expect(at(NOW - 30_001)).toEqual([0, []]);
    expect(at(NOW - 30_000)).toEqual([0, [NOW]]);
    expect(at(NOW - 1, true)).toEqual([0, []]);
    expect(at(NOW - 1)).toEqual([0, [NOW]]);
    expect(at(NOW)).toEqual([1, []]);
    expect(at(NOW, true)).toEqual([1, []]);
    expect(findExpiringTokens([socketOf(null)], NOW * 2)).toEqual({ expired: [], expiring: [] });
  });

  it("are each found among many", () => {
    const sockets = [socketOf(NOW - 1), socketOf(null), socketOf(NOW + 1), socketOf(NOW + 60_000)];
    const { expired, expiring } = findExpiringTokens(sockets, NOW);
    expect(expired).toEqual([sockets[0]]);
    expect(expiring).toEqual([{ session: sockets[2], expiresAt: NOW + 1 }]);
  });
});

describe("a fresh token for an open socket", () => {
  const settings = { JWT_SECRET: SECRET };

  it("of the same user brings its own rights and its own end (R11a)", async () => {
    const exp = Math.floor(Date.now() / 1_000) + 7_200;
    const token = await tokenOf(SECRET, "ann", { rooms: ["a:*"], publish: "b:1 b:2", exp });
    expect(await renewPrincipal(settings, userOf({ rooms: ["z:1"] }), token)).toEqual({
      ok: true,
      user: userOf({ expiresAt: exp * 1_000, rooms: ["a:*"], publish: ["b:1", "b:2"] }),
    });
  });

  it.each<[string, SessionPrincipal, Promise<string>, string]>([
    ["at the operator's socket", { kind: "operator" }, tokenOf(SECRET, "ann"), "not_allowed"],
    ["of another user", userOf(), tokenOf(SECRET, "bob"), "not_allowed"],
    ["that is not valid", userOf(), Promise.resolve("x"), "not_authenticated"],
    [
      "with more rights than a socket can keep",
      userOf(),
      tokenOf(SECRET, "ann", { publish: Array.from({ length: 50 }, () => "x".repeat(190)) }),
      "not_allowed",
    ],
  ])("%s is refused (R11a, R11c)", async (_what, principal, token, code) => {
    const renewed = await renewPrincipal(settings, principal, await token);
    expect(renewed).toMatchObject({
      ok: false,
      code,
      message: expect.stringMatching(/^[A-Z].*\.$/),
    });
    expect(renewed).not.toHaveProperty("user");
  });
});

describe("a token", () => {
  const settings = { JWT_SECRET: SECRET };

  async function reasonOf(claims: object, settingsOfEdge: object = settings): Promise<string> {
    const verified = await verifyToken(settingsOfEdge, await tokenOf(SECRET, "ann", { ...claims }));
    return verified.ok ? "accepted" : verified.reason;
  }

  it("may have ended 5 seconds ago by the edge's clock, or begin in 5 seconds", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: NOW });
    const now = NOW / 1_000;
    expect(await reasonOf({ exp: now - 4 })).toBe("accepted");
    expect(await reasonOf({ exp: now - 5 })).toContain("expired, 5 s ago");
    expect(await reasonOf({ exp: now + 60, nbf: now + 5 })).toBe("accepted");
    expect(await reasonOf({ exp: now + 60, nbf: now + 6 })).toContain("`nbf` is 6 s ahead");
  });

  it("is told how long ago it expired, in a unit that a person reads easily", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: NOW });
    const ago = async (seconds: number) => {
      const reason = await reasonOf({ exp: NOW / 1_000 - seconds });
      return /, (.*) ago/.exec(reason)?.[1];
    };
    const told = [];
    for (const s of [119, 120, 7_199, 7_200, 172_799, 172_800, 864_000]) told.push(await ago(s));
    expect(told).toEqual(["119 s", "2 min", "120 min", "2 h", "48 h", "2 days", "10 days"]);
  });

  it("may have any issuer and audience if the edge is set to none, and only the right one otherwise", async () => {
    expect(await reasonOf({ iss: "anybody", aud: "anything" })).toBe("accepted");
    const issuer = { ...settings, JWT_ISSUER: "accounts" };
    expect(await reasonOf({ iss: "accounts", aud: "anything" }, issuer)).toBe("accepted");
    expect(await reasonOf({ iss: "others" }, issuer)).toContain("`iss`");
    expect(await reasonOf({}, issuer)).toContain("lacks the claim `iss`");
    const audience = { ...settings, JWT_AUDIENCE: "dialout" };
    expect(await reasonOf({ aud: ["x", "dialout"] }, audience)).toBe("accepted");
    expect(await reasonOf({ aud: "x" }, audience)).toContain("`aud`");
  });

  it("without a claim that it must have is told which, and of no setting", async () => {
    expect(await reasonOf({ exp: undefined })).toBe("The token lacks the claim `exp`.");
    const nobody = await verifyToken(settings, await tokenOf(SECRET, undefined));
    expect(nobody).toMatchObject({ ok: false, reason: "The token lacks the claim `sub`." });
  });

  it("lists patterns as an array or as one text, and has none by default", async () => {
    const rightsOf = async (claims: object) => {
      const verified = await verifyToken(settings, await tokenOf(SECRET, "ann", { ...claims }));
      return verified.ok ? [verified.user.rooms, verified.user.publish] : verified.reason;
    };
    expect(await rightsOf({})).toEqual([[], []]);
    expect(await rightsOf({ rooms: " a:1\n b:* ", publish: [] })).toEqual([["a:1", "b:*"], []]);
    expect(await rightsOf({ rooms: "" })).toEqual([[], []]);
    expect(await rightsOf({ publish: ["a b"] })).toEqual([[], ["a b"]]);
    expect(await rightsOf({ rooms: Array.from({ length: 1_001 }, () => "a:1") })).toContain(
      "`rooms`",
    );
    expect(await rightsOf({ publish: ["x".repeat(201)] })).toContain("`publish.0`");
    expect(await rightsOf({ publish: "x".repeat(20_001) })).toContain("`publish`");
  });

  it("has a `sub` that can be the name of a room, of up to 128 characters", async () => {
    const ok = async (sub: string) => (await verifyToken(settings, await tokenOf(SECRET, sub))).ok;
    for (const sub of ["a", "auth0|5f7c", "ann@example.com", "x".repeat(128), "A_b-c.d"]) {
      expect(await ok(sub), sub).toBe(true);
    }
    for (const sub of ["", "x".repeat(129), "a:b", "a/b", "a*", "ü"]) {
      expect(await ok(sub), sub).toBe(false);
    }
  });
});
