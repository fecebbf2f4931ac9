import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { type ProblemError, validate } from "../../src/http/problems.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { asUser, body, Edge, OPERATOR, refusal } from "./edge.ts";

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an error that nobody expected", () => {
  function failingWith(more: object) {
    const edge = new Edge();
    edge.answers.describe = () => {
      throw Object.assign(new Error("secret words"), more);
    };
    return edge.request("GET", "/api/spaces/demo");
  }

  it.each([{ retryable: true }, { overloaded: true }])(
    "is 503 with `retry-after` if the runtime says that it passes: %j (H3)",
    async (more) => {
      const response = await failingWith(more);
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
      const text = await response.text();
      expect(JSON.parse(text)).toMatchObject({ code: "temporarily_unavailable", status: 503 });
      expect(text).not.toContain("secret");
    },
  );

  it.each([{}, { retryable: false }, { overloaded: false }])(
    "is 500 otherwise, and names only the request: %j (H3)",
    async (more) => {
      const response = await failingWith(more);
      expect([response.status, response.headers.get("retry-after")]).toEqual([500, null]);
      const text = await response.text();
      expect(JSON.parse(text)).toMatchObject({ code: "internal" });
      expect(text).not.toContain("secret");
      const id = response.headers.get("x-request-id") ?? "none";
      expect(text).toContain(id);
      expect(JSON.stringify(vi.mocked(console.error).mock.calls)).toContain(id);
    },
  );
});

describe("a problem", () => {
  it("has the form of RFC 9457, and its headers (H2)", async () => {
    const edge = new Edge();
    edge.answers.describe = () => refusal("not_authenticated", "Send a key.");
    const response = await edge.request("GET", "/api/spaces/demo");
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="dialout"');
    expect(await response.json()).toEqual({
      type: "urn:dialout:problem:not_authenticated",
      title: "Not authenticated",
      status: 401,
      detail: "Send a key.",
      code: "not_authenticated",
    });
    expect(console.error).not.toHaveBeenCalled();
  });

  it.each([
    ["rate_limited", 429, "60"],
    ["queue_full", 429, "5"],
    ["temporarily_unavailable", 503, "1"],
    ["space_not_found", 404, null],
  ])("%s says when to try again, if that helps (H3)", async (code, status, seconds) => {
    const edge = new Edge();
    edge.answers.describe = () => refusal(code);
    const response = await edge.request("GET", "/api/spaces/demo");
    expect([response.status, response.headers.get("retry-after")]).toEqual([status, seconds]);
    expect(response.headers.get("www-authenticate")).toBeNull();
  });

  it("names every field that is wrong, and three of them in words (H2)", async () => {
    const wrong = { name: "A B", max_queue: -1, max_workers: "x", job_timeout_s: 0, more: 1 };
    const [status, problem] = await new Edge().problem("POST", "/api/spaces", wrong, OPERATOR);
    expect([status, problem.code]).toEqual([422, "invalid_request"]);
    const paths = (problem.errors ?? []).map(({ path }) => path).sort();
    expect(paths).toEqual(["", "job_timeout_s", "max_queue", "max_workers", "name"]);
    expect(problem.detail.split("; ").length).toBe(3);
  });

  it("lists only the first of very many fields that are wrong (H2)", () => {
    const wrong = Array.from({ length: 900 }, () => "x");
    try {
      validate(z.array(z.number()), wrong);
      throw new Error("it was accepted");
    } catch (error) {
      expect(error).toMatchObject({ code: "invalid_request" });
      expect((error as ProblemError).errors).toHaveLength(LIMITS.listedErrors);
    }
  });

  it("about the whole request names it (H2)", async () => {
    const [, problem] = await new Edge().problem("POST", "/api/spaces", [], OPERATOR);
    expect(problem.detail).toMatch(/^the request must be/);
  });
});

describe("an address", () => {
  it("that needs a WebSocket says so, with the header (H3, W4)", async () => {
    const edge = new Edge();
    for (const path of ["/ws", "/ws/monitor", "/ws/a", "/api/rooms/a:1/ws", "/api/jobs/a/ws"]) {
      const response = await edge.request("GET", path, undefined, { upgrade: "h2c" });
      expect([response.status, response.headers.get("upgrade")], path).toEqual([426, "websocket"]);
    }
    expect(edge.calls).toEqual([]);
  });

  it("that takes another method says which (H3)", async () => {
    const response = await new Edge().request("DELETE", "/api/spaces");
    expect(response.status).toBe(405);
    const allow = response.headers.get("allow")?.split(", ").sort();
    expect(allow).toEqual(expect.arrayContaining(["GET", "POST"]));
    expect(allow).not.toContain("DELETE");
    expect(await response.json()).toMatchObject({ code: "method_not_allowed" });
  });

  it("that is none is 404, and named in a hundred characters (H3)", async () => {
    const path = `/nothing/${"x".repeat(200)}`;
    const [status, problem] = await new Edge().problem("GET", `${path}?token=secret`);
    expect([status, problem.code]).toEqual([404, "not_found"]);
    expect(problem.detail).toContain(path.slice(0, 100));
    expect(problem.detail).not.toContain(path.slice(0, 101));
    expect(problem.detail).not.toContain("secret");
  });

  it("may be used by pages of any origin, with the headers that they need (H9)", async () => {
    const edge = new Edge();
    edge.answers.describe = () => body({ name: "demo" });
    const preflight = await edge.request("OPTIONS", "/api/spaces/demo/jobs", undefined, {
      origin: "https://page.test",
      "access-control-request-method": "POST",
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-max-age")).toBe("86400");
    const allowed = preflight.headers.get("access-control-allow-headers")?.split(",") ?? [];
    for (const name of ["authorization", "idempotency-key", "prefer", "last-event-id"]) {
      expect(allowed.map((header) => header.trim())).toContain(name);
    }
    const origin = { origin: "https://page.test" };
    const response = await edge.request("GET", "/api/spaces/demo", undefined, origin);
    const exposed = response.headers.get("access-control-expose-headers") ?? "";
    for (const name of ["location", "retry-after", "idempotency-replayed"]) {
      expect(exposed).toContain(name);
    }
    expect((await edge.request("GET", "/healthz")).headers.get("access-control-allow-origin")).toBe(
      null,
    );
  });

  it("may end with slashes (H9a)", async () => {
    const edge = new Edge();
    edge.answers.describe = () => body({ name: "demo" });
    for (const path of ["/api/spaces/demo/", "/api/spaces/demo///"]) {
      expect((await edge.request("GET", path)).status).toBe(200);
    }
    expect(edge.asked).toEqual(["space demo: describe", "space demo: describe"]);
    expect(await (await edge.request("GET", "/healthz/")).json()).toEqual({ status: "ok" });
  });
});

describe("an edge whose secrets are missing", () => {
  it("serves nothing, and names the setting in its log alone", async () => {
    const edge = new Edge({ OPERATOR_KEY: "" });
    const response = await edge.request("GET", "/healthz");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("OPERATOR_KEY");
    expect(String(vi.mocked(console.error).mock.calls[0]?.[1])).toContain("OPERATOR_KEY");
  });
});

describe("a token that comes with a request", () => {
  async function callerSeen(path: string, headers: Record<string, string>): Promise<unknown> {
    const edge = new Edge();
    edge.answers.describe = () => body({});
    const response = await edge.request("GET", `/api/spaces/demo${path}`, undefined, headers);
    return response.status === 200 ? edge.argsOf("describe")[0]?.[0] : response.status;
  }

  it("may be the operator's key, a user's token, or missing (H1)", async () => {
    expect(await callerSeen("", {})).toMatchObject({ isAdmin: false });
    expect(await callerSeen("", OPERATOR)).toMatchObject({ isAdmin: true });
    expect(await callerSeen("?token=an-operator-key-for-tests", {})).toMatchObject({
      isAdmin: true,
    });
    const protocol = "dialout.v1, dialout.token.an-operator-key-for-tests";
    expect(await callerSeen("", { "sec-websocket-protocol": protocol })).toMatchObject({
      isAdmin: true,
    });
    const user = await asUser("ann", { rooms: ["*"], publish: ["*"] });
    expect(await callerSeen("", user)).toMatchObject({ isAdmin: false });
  });

  it("is refused if it is neither, instead of being ignored (H1)", async () => {
    expect(await callerSeen("", { authorization: "Bearer wrong" })).toBe(401);
    expect(await callerSeen("?token=wrong", {})).toBe(401);
    expect(await callerSeen("", { authorization: "Basic abc" })).toMatchObject({ isAdmin: false });
  });

  it("in the header counts more than one in the address (H1)", async () => {
    expect(await callerSeen("?token=wrong", OPERATOR)).toMatchObject({ isAdmin: true });
    expect(
      await callerSeen("?token=an-operator-key-for-tests", { authorization: "Bearer wrong" }),
    ).toBe(401);
  });
});

describe("what only known users may do, whom the space's object chooses among", () => {
  it.each([
    ["POST", "/api/spaces"],
    ["PATCH", "/api/spaces/demo"],
    ["DELETE", "/api/spaces/demo"],
    ["POST", "/api/spaces/demo/tokens"],
    ["GET", "/api/spaces/demo/tokens"],
    ["DELETE", "/api/spaces/demo/tokens/x"],
    ["POST", "/api/spaces/demo/drain"],
    ["GET", "/api/spaces/demo/webhook-secret"],
    ["POST", "/api/spaces/demo/webhook-secret"],
    ["GET", "/api/spaces/demo/members"],
    ["PUT", "/api/spaces/demo/members/ann"],
    ["DELETE", "/api/spaces/demo/members/ann"],
    ["GET", "/api/v1/websocket/stats"],
    ["GET", "/metrics"],
  ])(
    "%s %s is refused to strangers and users' tokens, and calls no object (H1a)",
    async (method, path) => {
      const edge = new Edge();
      const user = await asUser("ann", { rooms: ["*"], publish: ["*"] });
      const given = method === "GET" ? undefined : { name: "demo" };
      const cases = [
        { headers: {}, refusal: [401, "not_authenticated"], words: /needs the operator's key/ },
        { headers: user, refusal: [403, "not_allowed"], words: /Only admins|No user's token/ },
        {
          headers: { authorization: "Bearer wrong" },
          refusal: [401, "not_authenticated"],
          words: /neither the operator's key nor a user's token/,
        },
      ];
      for (const { headers, refusal, words } of cases) {
        const [status, problem] = await edge.problem(method, path, given, headers);
        expect([status, problem.code]).toEqual(refusal);
        expect(problem.detail).toMatch(words);
      }
      expect(edge.calls).toEqual([]);
    },
  );
});
