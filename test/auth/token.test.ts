import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mayPublish, maySubscribe, type Principal } from "../../src/auth/principal.ts";
import { type TokenSettings, verifyToken } from "../../src/auth/token.ts";
import { tokenOf } from "../support/tokens.ts";

const SECRET = "a-secret-that-is-long-enough-for-tests";

const withSecret = { JWT_SECRET: SECRET };

async function refusal(env: TokenSettings, token: string): Promise<string> {
  const verified = await verifyToken(env, token);
  return verified.ok ? "accepted" : verified.reason;
}

describe("a token signed with the shared secret", () => {
  it("names its user and their rights", async () => {
    const claims = { rooms: ["project:1"], publish: "agent:* room-of:2" };
    const verified = await verifyToken(withSecret, await tokenOf(SECRET, "alice", claims));
    expect(verified).toMatchObject({
      ok: true,
      user: { userId: "alice", rooms: ["project:1"], publish: ["agent:*", "room-of:2"] },
    });
  });

  it("is refused with the reason if anything in it is wrong (R2a)", async () => {
    const now = Math.floor(Date.now() / 1_000);
    const refused: [string, string][] = [
      [await tokenOf(SECRET, "alice", {}, -60), "expired"],
      [await tokenOf("another-secret-that-is-long-enough-too", "alice"), "signature"],
      [await tokenOf(SECRET, undefined), "`sub`"],
      [await tokenOf(SECRET, "alice", { exp: undefined }), "`exp`"],
      [await tokenOf(SECRET, "alice", { exp: 4_102_444_801 }), "not beyond the year 2100"],
      [await tokenOf(SECRET, "alice", { exp: 1e300 }), "not beyond the year 2100"],
      [await tokenOf(SECRET, "alice", { exp: now + 60.5 }), "must be whole seconds"],
      [await tokenOf(SECRET, "alice bob"), "`sub`"],
      [await tokenOf(SECRET, "alice", { rooms: 7 }), "`rooms`"],
      [new UnsecuredJWT({ sub: "alice", exp: now + 60 }).encode(), "algorithm"],
      [
        await tokenOf(SECRET, "alice", { nbf: now + 600 }),
        "not valid yet: its claim `nbf` is 10 min ahead",
      ],
      [await tokenOf(SECRET, "alice", { nbf: now + 7_300 }), "`nbf` is 2 h ahead"],
      [await tokenOf(SECRET, "alice", { nbf: now + 1e15 }), "days ahead"],
      [await tokenOf(SECRET, "alice", { exp: "soon" as never }), "`exp` must be a number"],
      [await tokenOf(SECRET, "alice", {}, -600), "expired, 10 min ago"],
      [await tokenOf("another-secret-that-is-long-enough-too", "alice"), "JWT_SECRET"],
      ["not a token", "no valid token"],
      ["", "no valid token"],
    ];
    for (const [token, reason] of refused) {
      expect(await refusal(withSecret, token), reason).toContain(reason);
      expect(await verifyToken(withSecret, token)).toMatchObject({ ok: false, isTemporary: false });
    }
  });

  it("may last until the year 2100, which a date can still express (R2a)", async () => {
    const verified = await verifyToken(
      withSecret,
      await tokenOf(SECRET, "alice", { exp: 4_102_444_800 }),
    );
    if (!verified.ok) throw new Error(verified.reason);
    expect(new Date(verified.user.expiresAt).toISOString()).toBe("2100-01-01T00:00:00.000Z");
  });

  it("is refused if its algorithm is another one, although the secret is right", async () => {
    const token = await new SignJWT({ exp: Math.floor(Date.now() / 1_000) + 60 })
      .setProtectedHeader({ alg: "HS512" })
      .setSubject("alice")
      .sign(new TextEncoder().encode(SECRET));
    expect(await refusal(withSecret, token)).toContain(
      "algorithm that is not allowed here. Allowed: HS256.",
    );
  });

  it("must have the issuer and the audience that the edge is set to", async () => {
    const env = { JWT_SECRET: SECRET, JWT_ISSUER: "accounts", JWT_AUDIENCE: "dialout" };
    const right = await tokenOf(SECRET, "alice", { iss: "accounts", aud: "dialout" });
    expect(await refusal(env, right)).toBe("accepted");
    const wrong = await tokenOf(SECRET, "alice", { iss: "others", aud: "dialout" });
    expect(await refusal(env, wrong)).toContain(
      "claim `iss` is wrong, which must be what the edge's setting JWT_ISSUER says",
    );
    const withoutAudience = await tokenOf(SECRET, "alice", { iss: "accounts" });
    expect(await refusal(env, withoutAudience)).toContain("lacks the claim `aud`");
    const others = await tokenOf(SECRET, "alice", { iss: "accounts", aud: ["others"] });
    expect(await refusal(env, others)).toContain("claim `aud` is wrong");
    expect(await refusal(env, others)).toContain("JWT_AUDIENCE");
  });

  it("is refused by an edge without a secret", async () => {
    expect(await refusal({}, await tokenOf(SECRET, "alice"))).toContain("takes no tokens");
  });
});

describe("a token signed with a private key", () => {
  const keys = generateKeyPair("ES256", { extractable: true });
  const server = createServer(async (_request, response) => {
    const { publicKey } = await keys;
    const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "ES256" };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  let env: TokenSettings;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    env = { JWKS_URL: `http://127.0.0.1:${port}/jwks.json`, JWT_SECRET: SECRET };
  });
  afterAll(() => server.close());

  it("is checked against the key at JWKS_URL that it names", async () => {
    const { privateKey } = await keys;
    const sign = (kid: string) =>
      new SignJWT({ exp: Math.floor(Date.now() / 1_000) + 60 })
        .setProtectedHeader({ alg: "ES256", kid })
        .setSubject("bob")
        .sign(privateKey);
    expect(await verifyToken(env, await sign("one"))).toMatchObject({ ok: true });
    expect(await refusal(env, await sign("two"))).toContain("key is not known");
  });

  it("can't be signed with a shared secret, not even with the text of the public key", async () => {
    const { publicKey } = await keys;
    const text = JSON.stringify(await exportJWK(publicKey));
    expect(await refusal(env, await tokenOf(text.padEnd(32), "mallory"))).toContain("algorithm");
    expect(await refusal(env, await tokenOf(SECRET, "mallory"))).toContain("algorithm");
  });

  it("is never checked with a key or an address that it brings itself", async () => {
    const mine = await generateKeyPair("ES256", { extractable: true });
    const jwk = await exportJWK(mine.publicKey);
    const jku = `${env.JWKS_URL}?mine`;
    const headers = [
      { jwk },
      { jwk, kid: "one" },
      { jku, kid: "one" },
      { x5u: jku, kid: "one" },
      { kid: "../../../dev/null" },
      { kid: "one' OR '1'='1" },
      { kid: "" },
    ];
    for (const header of headers) {
      const token = await new SignJWT({ exp: Math.floor(Date.now() / 1_000) + 60 })
        .setProtectedHeader({ alg: "ES256", ...header })
        .setSubject("mallory")
        .sign(mine.privateKey);
      expect(await refusal(env, token)).toMatch(/signature is wrong|key is not known/);
    }
  });

  it("is refused without a signature, however `none` is written", async () => {
    const text = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = text({ sub: "mallory", exp: Math.floor(Date.now() / 1_000) + 60 });
    for (const alg of ["none", "None", "NONE", "nOnE", "", "HS256", "ES256"]) {
      for (const settings of [env, withSecret]) {
        for (const signature of ["", "AAAA"]) {
          const token = `${text({ alg, kid: "one" })}.${claims}.${signature}`;
          expect(await refusal(settings, token)).not.toBe("accepted");
        }
      }
    }
  });
});

describe("what a user may do", () => {
  const user: Principal = {
    kind: "user",
    userId: "alice",
    expiresAt: 0,
    rooms: ["project:1", "agent:*"],
    publish: ["project:2"],
  };

  it("is what the token names, and to follow `global` and the user's own room", () => {
    const follows = ["global", "user:alice", "project:1", "agent:7"];
    const others = ["user:bob", "project:2", "project:11", "agent", "space:demo", "job:x", "*"];
    expect(follows.filter((address) => maySubscribe(user, address))).toEqual(follows);
    expect(others.filter((address) => maySubscribe(user, address))).toEqual([]);
    expect(["project:1", "project:2", "global"].filter((room) => mayPublish(user, room))).toEqual([
      "project:2",
    ]);
  });

  it("is nothing without a token, and everything with the operator's key", () => {
    for (const address of ["global", "user:alice"]) {
      expect(maySubscribe({ kind: "anonymous" }, address)).toBe(false);
      expect(mayPublish({ kind: "anonymous" }, address)).toBe(false);
      expect(maySubscribe({ kind: "operator" }, address)).toBe(true);
      expect(mayPublish({ kind: "operator" }, address)).toBe(true);
    }
  });
});
