import { describe, expect, it } from "vitest";
import { body, Edge, OPERATOR } from "./edge.ts";

/** Answers of every sort. */
const ANSWERS: [string, string, string, Record<string, string>][] = [
  ["JSON", "GET", "/api/spaces/demo", {}],
  ["a problem", "GET", "/api/spaces/missing", {}],
  ["a wrong address", "GET", "/<script>alert(1)</script>", {}],
  ["a wrong method", "DELETE", "/healthz", {}],
  ["a refused socket", "GET", "/api/spaces/demo/ws", {}],
  ["a preflight", "OPTIONS", "/api/spaces/demo", { origin: "https://page.test" }],
  ["a redirect", "GET", "/spaces", {}],
  ["a forged file address", "GET", "/api/files/spaces/demo/inputs/x/0?signature=x&expires=1", {}],
  ["the numbers, refused", "GET", "/metrics", {}],
];

function edgeWith(settings: object = {}): Edge {
  const edge = new Edge(settings);
  edge.answers.describe = () => body({ name: "demo" });
  return edge;
}

describe("every answer", () => {
  it.each(ANSWERS)(
    "%s tells browsers to run nothing of it (H23)",
    async (_, method, path, headers) => {
      const answer = await edgeWith().request(method, path, undefined, headers);
      expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(answer.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("x-frame-options")).toBe("DENY");
      expect(answer.headers.get("referrer-policy")).toBe("same-origin");
      expect(answer.headers.get("permissions-policy")).toMatch(/camera=\(\), microphone=\(self\)/);
    },
  );

  it.each([{ OPERATOR_KEY: "short" }, { PUBLIC_URL: "short" }])(
    "runs nothing even when the settings are wrong and every request fails (H23)",
    async (settings) => {
      const answer = await edgeWith(settings).request("GET", "/");
      expect(answer.status).toBe(500);
      expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(await answer.text()).not.toContain("short");
    },
  );

  it.each([
    ["https://edge.example", /^max-age=\d+$/],
    ["http://edge.example", undefined],
  ])("reached at %s, asks for TLS only where there is TLS (H23a)", async (PUBLIC_URL, expected) => {
    const answer = await edgeWith({ PUBLIC_URL }).request("GET", "/healthz");
    const sent = answer.headers.get("strict-transport-security");
    if (expected) expect(sent).toMatch(expected);
    else expect(sent).toBeNull();
  });
});

describe("an edge with CORS_ORIGINS", () => {
  const settings = { CORS_ORIGINS: "https://app.example, http://localhost:3000/" };
  const named = { origin: "https://app.example" };
  const other = { origin: "https://evil.test" };
  const allowed = (answer: Response) => answer.headers.get("access-control-allow-origin");

  it("lets the pages read that it names, and no others (H9d)", async () => {
    const edge = edgeWith(settings);
    for (const origin of ["https://app.example", "http://localhost:3000"]) {
      const answer = await edge.request("GET", "/api/spaces/demo", undefined, { origin });
      expect([allowed(answer), answer.headers.get("vary")]).toEqual([origin, "Origin"]);
    }
    const path = "/api/spaces/demo";
    for (const origin of ["https://evil.test", "https://app.example.evil.test", "null", "*"]) {
      expect(allowed(await edge.request("GET", path, undefined, { origin }))).toBeNull();
      const preflight = await edge.request("OPTIONS", path, undefined, {
        origin,
        "access-control-request-method": "POST",
      });
      expect(allowed(preflight)).toBeNull();
    }
    const answer = await edge.request("GET", path, undefined, named);
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
  });

  it("refuses what pages of others would change, before anything is called (H9d)", async () => {
    const edge = edgeWith(settings);
    const sent = { ...other, "content-type": "text/plain" };
    const [status, problem] = await edge.problem("POST", "/api/spaces/demo/jobs", "{}", sent);
    expect([status, problem.code]).toEqual([403, "not_allowed"]);
    const socket = { ...other, upgrade: "websocket" };
    for (const path of ["/api/spaces/demo/ws", "/ws", "/ws/demo.x", "/api/rooms/global/ws"]) {
      expect((await edge.problem("GET", path, undefined, socket))[0]).toBe(403);
    }
    expect(edge.calls).toEqual([]);
  });

  it("still answers its own pages and programs (H9d)", async () => {
    const edge = edgeWith(settings);
    for (const headers of [{}, { origin: "https://edge.test" }, named]) {
      const body = { name: "demo", more: 1 };
      const answer = await edge.request("POST", "/api/spaces", body, { ...OPERATOR, ...headers });
      expect(answer.status).toBe(422);
    }
  });
});
