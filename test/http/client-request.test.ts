import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import type { Env } from "../../src/env.ts";
import {
  clientAddressOf,
  isFromThisMachine,
  publicOriginOf,
} from "../../src/http/client-request.ts";
import type { AppEnv } from "../../src/http/context.ts";

const probe = new Hono<AppEnv>().get("*", (c) =>
  c.json([publicOriginOf(c), clientAddressOf(c), isFromThisMachine(c)]),
);

/** What the edge takes the client of such a request for: its origin, its address, and whether it is this machine. */
async function seen(
  settings: Partial<Env>,
  headers: Record<string, string> = {},
  url = "https://edge.test/x",
): Promise<unknown> {
  const response = await probe.request(url, { headers }, settings as Env);
  return response.json();
}

const PEER = { "cf-connecting-ip": "9.9.9.9" };
const FORWARDED = {
  "x-forwarded-for": "1.1.1.1",
  "x-forwarded-proto": "http",
  "x-forwarded-host": "lie.test",
};

describe("on Cloudflare the client", () => {
  it("is who dialed the edge, under the address that it dialed", async () => {
    expect(await seen({}, PEER)).toEqual(["https://edge.test", "9.9.9.9", false]);
    expect(await seen({}, { ...PEER, ...FORWARDED })).toEqual([
      "https://edge.test",
      "9.9.9.9",
      false,
    ]);
    expect(await seen({}, {}, "http://edge.test:81/x")).toEqual([
      "http://edge.test:81",
      "unknown",
      false,
    ]);
  });

  it("is never this machine", async () => {
    expect(await seen({}, { host: "localhost" })).toContain(false);
  });
});

describe("PUBLIC_URL", () => {
  it("is the origin, whatever else a request says", async () => {
    const settings = { PUBLIC_URL: "https://public.test/", TRUSTED_PROXIES: "9.9.9.9" };
    expect(await seen(settings, { ...PEER, ...FORWARDED })).toEqual([
      "https://public.test",
      "1.1.1.1",
      false,
    ]);
  });
});

describe("a trusted proxy", () => {
  const settings = { TRUSTED_PROXIES: "9.9.9.9" };

  it("is believed what it reports (H9b)", async () => {
    expect(await seen(settings, { ...PEER, ...FORWARDED })).toEqual([
      "http://lie.test",
      "1.1.1.1",
      false,
    ]);
    expect(await seen(settings, PEER)).toEqual(["https://edge.test", "9.9.9.9", false]);
  });

  it("is none that has another address (H9b)", async () => {
    const other = { ...FORWARDED, "cf-connecting-ip": "9.9.9.8" };
    expect(await seen(settings, other)).toEqual(["https://edge.test", "9.9.9.8", false]);
  });
});

describe("on one's own server the client", () => {
  const URL = "http://localhost:8787/x";

  it("is this machine if only it can dial the edge, and nothing shows a proxy (H9c)", async () => {
    const local = { LOCAL: "true" };
    expect(await seen(local, {}, URL)).toContain(true);
    for (const host of ["localhost:8787", "127.0.0.1", "a.localhost", "[::1]:8787", "127.9.9.9"]) {
      expect(await seen(local, { host }, URL), host).toContain(true);
    }
    for (const host of [
      "edge.test",
      "localhost.evil.test",
      "128.0.0.1",
      "[::2]",
      "127.0.0.1.evil",
    ]) {
      expect(await seen(local, { host }, URL), host).toContain(false);
    }
    expect(
      await seen(local, { host: "localhost", origin: "http://localhost:3000" }, URL),
    ).toContain(true);
    for (const origin of ["https://evil.test", "null", "http://localhost.evil.test"]) {
      expect(await seen(local, { host: "localhost", origin }, URL), origin).toContain(false);
    }
  });

  it.each([
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "forwarded",
    "via",
  ])(
    "is a stranger if the request has `%s`, and all strangers share an address (H9c)",
    async (name) => {
      const headers = { host: "localhost", [name]: "x", ...PEER };
      const [origin, address, local] = (await seen({ LOCAL: "true" }, headers, URL)) as unknown[];
      expect([address, local]).toEqual(["127.0.0.1", false]);
      expect(origin).toBe("http://localhost:8787");
    },
  );

  it.each<Partial<Env>>([
    { LOCAL: "network" },
    { LOCAL: "true", PUBLIC_URL: "http://localhost:8787" },
    { LOCAL: "true", TRUSTED_PROXIES: "10.0.0.1" },
  ])("has no local rights if the edge is set to %j (H9c)", async (settings) => {
    expect(await seen(settings, { host: "localhost" }, URL)).toContain(false);
  });

  it("is named by its own headers to no one: only a proxy on this machine is trusted (H9b)", async () => {
    const settings = { LOCAL: "network", TRUSTED_PROXIES: "10.0.0.1" };
    expect(await seen(settings, { ...PEER, "x-forwarded-for": "1.1.1.1" }, URL)).toEqual([
      "http://localhost:8787",
      "1.1.1.1",
      false,
    ]);
    expect(await seen({ LOCAL: "network" }, PEER, URL)).toContain("127.0.0.1");
    expect(await seen({ LOCAL: "true" }, { ...PEER, host: "localhost" }, URL)).toContain("9.9.9.9");
  });

  it("has made no `https:` request, although the runtime believes its header", async () => {
    const headers = { "x-forwarded-proto": "https" };
    const url = "https://edge.test/x";
    expect(await seen({ LOCAL: "network" }, headers, url)).toContain("http://edge.test");
    expect(await seen({ LOCAL: "network" }, {}, url)).toContain("https://edge.test");
    expect(await seen({}, headers, url)).toContain("https://edge.test");
  });
});
