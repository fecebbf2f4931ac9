import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { renewPrincipal } from "../../src/auth/session.ts";
import { type TokenSettings, verifyToken } from "../../src/auth/token.ts";

const TEMPORARY = { ok: false, isTemporary: true, reason: expect.stringContaining("try again") };

const keys = generateKeyPair("ES256", { extractable: true });

async function tokenBy(kid: string): Promise<string> {
  const { privateKey } = await keys;
  return new SignJWT({ exp: Math.floor(Date.now() / 1_000) + 60 })
    .setProtectedHeader({ alg: "ES256", kid })
    .setSubject("bob")
    .sign(privateKey);
}

async function answerKeys(response: ServerResponse): Promise<void> {
  const { publicKey } = await keys;
  response.end(JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "one" }] }));
}

describe("a token whose key can't be fetched", () => {
  let answer: (response: ServerResponse) => void;
  const server = createServer((_request, response) => answer(response));
  let made = 0;
  let env: TokenSettings;

  beforeEach(async () => {
    vi.spyOn(console, "error").mockReturnValue();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    made += 1;
    env = { JWKS_URL: `http://127.0.0.1:${port}/${made}` };
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ["answers with an error", (response) => response.writeHead(500).end()],
    ["answers with something that is not JSON", (response) => response.end("<html>")],
    ["answers JSON without keys", (response) => response.end('{"keys": 7}')],
    ["closes the connection", (response) => response.destroy()],
  ])("is refused only for now if the key server %s (R11b)", async (_, fail) => {
    answer = fail;
    expect(await verifyToken(env, await tokenBy("one"))).toMatchObject(TEMPORARY);
    answer = answerKeys;
    expect(await verifyToken(env, await tokenBy("one"))).toMatchObject({ ok: true });
  });

  it("is refused only for now if the key server can't be reached (R11b)", async () => {
    await new Promise((resolve) => server.close(resolve));
    expect(await verifyToken(env, await tokenBy("one"))).toMatchObject(TEMPORARY);
  });

  it("is refused only for now if the key server does not answer in time (R11b)", async () => {
    answer = () => undefined;
    expect(await verifyToken(env, await tokenBy("one"))).toMatchObject(TEMPORARY);
  });

  it("is refused for good if the key server answers and has no such key", async () => {
    answer = answerKeys;
    const verified = await verifyToken(env, await tokenBy("two"));
    expect(verified).toMatchObject({
      ok: false,
      isTemporary: false,
      reason: expect.stringContaining("key is not known"),
    });
  });

  it("gives `authenticate` the error `temporarily_unavailable`, unlike a token that is wrong (R11b, R11c)", async () => {
    answer = (response) => response.writeHead(502).end();
    const user = { kind: "user" as const, userId: "kim", expiresAt: 0, rooms: [], publish: [] };
    const renewed = await renewPrincipal(env, user, await tokenBy("one"));
    expect(renewed).toMatchObject({ ok: false, code: "temporarily_unavailable" });
    const wrong = await renewPrincipal(env, user, "not a token");
    expect(wrong).toMatchObject({ ok: false, code: "not_authenticated" });
    const operators = await renewPrincipal(env, { kind: "operator" }, await tokenBy("one"));
    expect(operators).toMatchObject({ ok: false, code: "not_allowed" });
  });
});
