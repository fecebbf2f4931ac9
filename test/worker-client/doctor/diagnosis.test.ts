import { describe, expect, onTestFinished, test } from "vitest";
import { foreignAnswer, Network } from "../../support/network.ts";
import { freePort } from "../../support/port.ts";
import { complaints, examine, helloOf, problem, SPACE, startFakeEdge, TOKEN } from "./place.ts";

async function networkTo(url: string): Promise<Network> {
  const network = await Network.start(url);
  onTestFinished(() => network.close());
  return network;
}

describe("a worker to be", () => {
  test("learns that everything is in order, and has not registered (W6c)", async () => {
    const edge = await startFakeEdge();
    const findings = await examine(edge.url);
    expect(complaints(findings)).toEqual([]);
    const checks = findings.map(({ check }) => check);
    const network = ["address", "token", "proxy", "name", "tcp", "edge", "clock"];
    expect(checks).toEqual([...network, "space", "websocket", "link", "worker"]);
    expect(new Set(edge.frames)).toEqual(new Set(["ping"]));
    const sent = edge.asked.filter(({ authorization }) => authorization !== undefined);
    expect(sent).toEqual([
      { path: `/api/spaces/${SPACE}/connect`, authorization: `Bearer ${TOKEN}` },
    ]);
  });

  test("that finds every place taken learns who has it", async () => {
    const edge = await startFakeEdge({ greet: [helloOf({ workers: 1, max_workers: 1 })] });
    const [complaint] = complaints(await examine(edge.url));
    expect(complaint).toContain(
      "worker warning: the worker box serves the space now, and it has one place",
    );
  });

  test("of a private space learns whether there is a place, too", async () => {
    const edge = await startFakeEdge({
      greet: [helloOf({ workers: 2, max_workers: 2 })],
      answer: (request, response) => {
        if (request.url === "/healthz") return false;
        const { status, type, body } = problem(401, "not_authenticated", "This space is private.");
        response.writeHead(status, { "content-type": type }).end(body);
        return true;
      },
    });
    const findings = await examine(edge.url);
    expect(complaints(findings)).toEqual([
      expect.stringContaining("2 workers serve the space now"),
    ]);
    expect(findings.find(({ check }) => check === "space")?.message).toContain("is private");
  });

  test.each([
    [null, "no token was given; give a worker token"],
    ["dok_secret", "this is an API key, which serves no space"],
    ["a.b.c", "this is a user's token, which serves no space"],
    ["two words", "it has a space or a line break in it"],
  ])("with the token %j is not dialed for", async (credential, words) => {
    const edge = await startFakeEdge();
    const found = complaints(await examine(edge.url, { credential }));
    expect(found[0]).toContain(`token wrong: ${words}`);
    expect(found[1]).toContain("websocket unknown: without a token that could be right");
    expect(edge.asked.map(({ path }) => path)).not.toContain(`/api/spaces/${SPACE}/connect`);
  });

  test.each([
    [
      problem(401, "not_authenticated", "This token is not one of the space echo."),
      "access wrong: This token",
    ],
    [
      problem(404, "space_not_found", "There is no space named echo."),
      "space wrong: There is no space",
    ],
    [problem(426, "upgrade_required", "…"), "websocket wrong: the edge was asked without `Upgrade"],
    [problem(429, "rate_limited", "Too many."), "websocket wrong: Too many."],
    [
      { status: 403, type: "text/html", body: "<p>No" },
      "something before the edge refuses WebSockets with status 403",
    ],
  ])("that is refused learns why: %j", async (refuse, words) => {
    const edge = await startFakeEdge({ refuse });
    const [complaint] = complaints(await examine(edge.url));
    expect(complaint).toContain(words);
  });

  test("whose frames are held back on the way learns it", async () => {
    const edge = await startFakeEdge({ greet: [] });
    const [complaint] = complaints(await examine(edge.url, { stepMs: 300 }));
    expect(complaint).toContain(
      "websocket wrong: the connection opens, but the edge's first frame",
    );
  });

  test("on a slow link learns how slow it is", async () => {
    const edge = await startFakeEdge();
    const network = await networkTo(`http://127.0.0.1:${edge.port}`);
    network.set({ bytesPerS: 3_000 });
    const [complaint] = complaints(await examine(network.url, { stepMs: 20_000 }));
    expect(complaint).toMatch(/link warning: the link is slow: .* 16 KB there and back/);
  });

  test("has its program looked at", async () => {
    const edge = await startFakeEdge();
    const env = { PATH: process.env.PATH };
    expect(complaints(await examine(edge.url, { program: "sh", env }))).toEqual([]);
    const [complaint] = complaints(await examine(edge.url, { program: "no-such-program", env }));
    expect(complaint).toContain(
      "program wrong: no-such-program can't be run: it is in no folder of PATH",
    );
  });
});

describe("somebody who submits", () => {
  const client = { role: "client", credential: "dok_key" } as const;

  test("learns that everything is in order", async () => {
    const edge = await startFakeEdge();
    const findings = await examine(edge.url, client);
    expect(complaints(findings)).toEqual([]);
    expect(findings.map(({ check }) => check).slice(-5)).toEqual([
      "space",
      "access",
      "websocket",
      "link",
      "worker",
    ]);
  });

  test("without a space learns whether the edge is there", async () => {
    const edge = await startFakeEdge();
    const findings = complaints(await examine(edge.url, { ...client, space: null }));
    expect(findings).toEqual([expect.stringContaining("space unknown: no space was named")]);
  });

  test("to a space without a worker learns what happens to submits", async () => {
    const edge = await startFakeEdge({ status: { worker: "disconnected" } });
    const [complaint] = complaints(await examine(edge.url, client));
    expect(complaint).toContain("worker warning: no worker is connected: submits are refused");
  });

  test("with an expired token learns since when", async () => {
    const claims = Buffer.from('{"exp":1700000000}').toString("base64url");
    const edge = await startFakeEdge();
    const [complaint] = complaints(
      await examine(edge.url, { ...client, credential: `x.${claims}.y` }),
    );
    expect(complaint).toContain(
      "token wrong: this user's token expired at 2023-11-14T22:13:20.000Z",
    );
  });

  test("whose key is refused learns it", async () => {
    const edge = await startFakeEdge({
      answer: (request, response) => {
        if (request.url === "/healthz") return false;
        const { status, type, body } = problem(
          401,
          "not_authenticated",
          "This key is wrong, revoked or expired.",
        );
        response.writeHead(status, { "content-type": type }).end(body);
        return true;
      },
    });
    const [complaint] = complaints(await examine(edge.url, client));
    expect(complaint).toContain("access wrong: This key is wrong, revoked or expired.");
  });
});

describe("the way to the edge", () => {
  test("where nothing listens ends at TCP", async () => {
    const found = await examine(`http://127.0.0.1:${await freePort()}`);
    expect(complaints(found)).toEqual([
      expect.stringContaining("tcp wrong: nothing listens at 127.0.0.1"),
    ]);
    expect(found.at(-1)?.check).toBe("tcp");
  });

  test("to a name that doesn't exist ends there", async () => {
    const found = await examine("http://no-such-host.invalid");
    expect(found.at(-1)).toMatchObject({ check: "name", level: "wrong" });
    expect(found.at(-1)?.message).toContain("no-such-host.invalid");
  });

  test.each([
    [foreignAnswer("200 OK"), "is no Dialout edge (a page of HTML)"],
    [
      foreignAnswer("302 Found", { location: "http://login.example/?to=x" }),
      "sends everybody on to http://login.example",
    ],
    [foreignAnswer("503 Service Unavailable"), "answers with status 503"],
    [foreignAnswer("407 Proxy Authentication Required"), "a proxy asks for a password"],
    [foreignAnswer("404 Not Found"), "is no Dialout edge"],
  ])("on which somebody else answers says who: %s", async (answer, words) => {
    const edge = await startFakeEdge();
    const network = await networkTo(edge.url);
    network.set({ dials: { answer } });
    const found = await examine(network.url);
    expect(complaints(found)).toEqual([expect.stringContaining(words)]);
    expect(found.at(-1)?.check).toBe("edge");
  });

  test("that sends everybody on to https says what to write", async () => {
    const edge = await startFakeEdge();
    const network = await networkTo(edge.url);
    const target = network.url.replace("http:", "https:");
    network.set({
      dials: { answer: foreignAnswer("301 Moved", { location: `${target}/healthz` }) },
    });
    const [complaint] = complaints(await examine(network.url));
    expect(complaint).toContain(`sends everybody on to https; use ${target}`);
  });

  test("on which connections hang or are reset says so", async () => {
    const edge = await startFakeEdge();
    const network = await networkTo(edge.url);
    network.set({ dials: "hang" });
    expect(complaints(await examine(network.url, { stepMs: 300 }))[0]).toContain(
      "no answer came within 0.3 s",
    );
    network.set({ dials: "reset" });
    expect(complaints(await examine(network.url))[0]).toMatch(/(tcp|edge) wrong: .*reset/);
  });

  test.each([
    [3_600_000, "this machine's clock is 60 minutes behind the edge's"],
    [-90_000, /this machine's clock is (89|90|91) s ahead of the edge's/],
    [259_200_000, "this machine's clock is 3 days behind"],
  ])("has a clock of its own: %i", async (aheadMs, words) => {
    const edge = await startFakeEdge({ aheadMs });
    const [complaint] = complaints(await examine(edge.url));
    expect(complaint).toMatch(words);
  });

  test("without encryption to another machine is a warning", async () => {
    const [complaint] = complaints(await examine("http://no-such-host.invalid"));
    expect(complaint).toContain("address warning: http://no-such-host.invalid is not encrypted");
  });

  test("past a proxy that the environment names is a warning, which has no password", async () => {
    const edge = await startFakeEdge();
    const HTTP_PROXY = "http://ada:secret@proxy.example:3128";
    const found = complaints(await examine(edge.url, { env: { HTTP_PROXY } }));
    expect(found).toEqual([expect.stringContaining("names the proxy proxy.example:3128, but")]);
    expect(found.join()).not.toContain("secret");
    const env = { HTTP_PROXY, NO_PROXY: "other.example, localhost" };
    expect(complaints(await examine(edge.url, { env }))).toEqual([]);
  });
});
