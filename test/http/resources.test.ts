import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { signedFileUrl } from "../../src/files/signed-url.ts";
import { noTotals } from "../../src/monitor/totals.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { body, Edge, OPERATOR, refusal } from "./edge.ts";

const ULID = "01JCQ9X4T3N5V7W8Y2Z6A1B3C4";

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** An edge with these spaces in its catalogue. */
async function edgeWith(...spaces: { name: string; visibility?: string }[]) {
  const edge = new Edge({}, []);
  edge.answers.create = () => undefined;
  edge.answers.describe = ({ object }) => body({ name: object.slice("space ".length) });
  for (const space of spaces) await edge.request("POST", "/api/spaces", space, OPERATOR);
  edge.calls.length = 0;
  return edge;
}

describe("the list of spaces", () => {
  const THREE = [{ name: "a" }, { name: "b", visibility: "private" }, { name: "c" }, { name: "d" }];

  async function listed(edge: Edge, query = "", headers: Record<string, string> = {}) {
    const response = await edge.request("GET", `/api/spaces${query}`, undefined, headers);
    const { spaces, next_cursor } = await response.json<{
      spaces: { name: string }[];
      next_cursor: string | null;
    }>();
    return [spaces.map(({ name }) => name), next_cursor];
  }

  it("has the public ones in the order of their names, page by page", async () => {
    const edge = await edgeWith(...THREE);
    expect(await listed(edge)).toEqual([["a", "c", "d"], null]);
    expect(await listed(edge, "?limit=2")).toEqual([["a", "c"], "c"]);
    expect(await listed(edge, "?limit=2&cursor=c")).toEqual([["d"], null]);
    expect(await listed(edge, "?limit=3")).toEqual([["a", "c", "d"], null]);
    expect(await listed(edge, "", OPERATOR)).toEqual([["a", "b", "c", "d"], null]);
    for (const query of ["?limit=0", "?limit=101", "?limit=x", "?nonsense=1"]) {
      expect((await edge.problem("GET", `/api/spaces${query}`))[0]).toBe(422);
    }
  });

  it("leaves out a space that refuses or can't be reached, and has the others", async () => {
    const edge = await edgeWith(...THREE);
    edge.answers.describe = ({ object }) => {
      if (object === "space c") throw new Error("overloaded");
      return object === "space a" ? refusal("not_authenticated") : body({ name: object.slice(6) });
    };
    expect(await listed(edge)).toEqual([["d"], null]);
  });
});

describe("a space", () => {
  it("that is made has the given settings and the defaults, and its address (H8)", async () => {
    const edge = await edgeWith();
    const given = { name: "demo", title: "T", max_queue: 5 };
    const response = await edge.request("POST", "/api/spaces", given, OPERATOR);
    expect([response.status, response.headers.get("location")]).toEqual([201, "/api/spaces/demo"]);
    expect(edge.argsOf("create")).toEqual([
      ["demo", { ...DEFAULT_SETTINGS, title: "T", max_queue: 5 }, true, null],
    ]);
    const [status, problem] = await edge.problem("POST", "/api/spaces", given, OPERATOR);
    expect([status, problem.code]).toEqual([409, "space_exists"]);
    expect(edge.argsOf("create")).toHaveLength(1);
  });

  it("that is changed is changed in the catalogue, too", async () => {
    const edge = await edgeWith({ name: "demo" });
    edge.answers.change = () => body({ ...DEFAULT_SETTINGS, name: "demo", visibility: "private" });
    const patch = { visibility: "private" };
    expect((await edge.request("PATCH", "/api/spaces/demo", patch, OPERATOR)).status).toBe(200);
    expect(edge.argsOf("change")).toEqual([[expect.objectContaining({ isAdmin: true }), patch]]);
    const list = await edge.request("GET", "/api/spaces");
    expect(await list.json()).toEqual({ spaces: [], next_cursor: null });
  });

  it("that its object refuses to change stays the same in the catalogue", async () => {
    const edge = await edgeWith({ name: "demo" });
    edge.answers.change = () => refusal("invalid_request");
    const patch = { visibility: "private" };
    expect((await edge.problem("PATCH", "/api/spaces/demo", patch, OPERATOR))[0]).toBe(422);
    const list = await edge.request("GET", "/api/spaces");
    expect(await list.json()).toMatchObject({ spaces: [{ name: "demo" }] });
  });

  it.each([
    [true, 204, [["demo"]]],
    [false, 404, []],
  ])("listed: %j, is deleted with %j, and its object: %j", async (isListed, status, destroyed) => {
    const edge = await edgeWith(...(isListed ? [{ name: "demo" }] : []));
    edge.answers.destroy = () => true;
    const response = await edge.request("DELETE", "/api/spaces/demo", undefined, OPERATOR);
    expect([response.status, edge.argsOf("destroy")]).toEqual([status, destroyed]);
    expect(
      (await (await edge.request("GET", "/api/spaces")).json<{ spaces: [] }>()).spaces,
    ).toEqual([]);
  });

  it.each(["Demo", "-a", "a b", "x".repeat(64), "demo.1"])(
    "can't be named %j: it is answered like one that doesn't exist (H3)",
    async (name) => {
      const edge = await edgeWith();
      const path = `/api/spaces/${encodeURIComponent(name)}`;
      expect((await edge.problem("GET", path))[1].code).toBe("space_not_found");
      expect(edge.calls).toEqual([]);
    },
  );

  it("has worker tokens that are shown once, listed, and revoked at its object (H4)", async () => {
    const edge = await edgeWith({ name: "demo" }, { name: "other" });
    edge.answers.dropToken = () => undefined;
    const path = "/api/spaces/demo/tokens";
    const made = await edge.request("POST", path, { name: "box" }, OPERATOR);
    expect(made.status).toBe(201);
    const { id, token } = await made.json<{ id: string; token: string }>();
    expect(token).toMatch(/^dow_/);
    const list = await (await edge.request("GET", path, undefined, OPERATOR)).text();
    expect(JSON.parse(list)).toMatchObject({ tokens: [{ id, name: "box" }] });
    expect(list).not.toContain(token);
    const elsewhere = `/api/spaces/other/tokens/${id}`;
    expect((await edge.problem("DELETE", elsewhere, undefined, OPERATOR))[1].code).toBe(
      "token_not_found",
    );
    expect(edge.argsOf("dropToken")).toEqual([]);
    const revoke = () => edge.request("DELETE", `${path}/${id}`, undefined, OPERATOR);
    expect([(await revoke()).status, edge.argsOf("dropToken")]).toEqual([204, [[id]]]);
    expect((await revoke()).status).toBe(404);
  });

  it.each([
    ["POST", "drain", "drain", ["The operator is draining the space."], 200],
    ["GET", "webhook-secret", "webhookSecret", [false], 200],
    ["POST", "webhook-secret", "webhookSecret", [true], 201],
  ])("%s %s asks its object, and one that isn't listed is asked nothing", async (...row) => {
    const [method, path, asked, args, status] = row;
    const edge = await edgeWith({ name: "demo" });
    edge.answers[asked] = () => body({});
    const response = await edge.request(method, `/api/spaces/demo/${path}`, undefined, OPERATOR);
    const admin = expect.objectContaining({ isAdmin: true });
    expect([response.status, edge.argsOf(asked)]).toEqual([status, [[admin, ...args]]]);
    const missing = await edge.problem(method, `/api/spaces/gone/${path}`, undefined, OPERATOR);
    expect([missing[0], edge.argsOf(asked)]).toEqual([404, [[admin, ...args]]]);
  });
});

describe("a job", () => {
  it.each([
    ["GET", "", "job"],
    ["POST", "/cancel", "cancel"],
    ["GET", "/webhooks", "webhookDeliveries"],
  ])(
    "%s …%s asks the object of its space, with the caller's rights",
    async (method, path, asked) => {
      const edge = new Edge();
      edge.answers[asked] = () => body({ id: "x" });
      for (const headers of [{}, OPERATOR]) {
        const address = `/api/jobs/my-space.${ULID}${path}`;
        const response = await edge.request(method, address, undefined, headers);
        expect([response.status, await response.json()]).toEqual([200, { id: "x" }]);
      }
      expect(edge.calls.map(({ object, args }) => [object, ...args])).toEqual([
        ["space my-space", expect.objectContaining({ isAdmin: false }), ULID],
        ["space my-space", expect.objectContaining({ isAdmin: true }), ULID],
      ]);
    },
  );

  it.each([
    "demo.x",
    `Demo.${ULID}`,
    `demo.${ULID}0`,
    `demo.${ULID.replace("0", "I")}`,
    `.${ULID}`,
  ])("can't have the id %j: no object is asked (H3)", async (id) => {
    const edge = new Edge();
    const [status, problem] = await edge.problem("GET", `/api/jobs/${id}`);
    expect([status, problem.code]).toEqual([404, "job_not_found"]);
    expect(edge.calls).toEqual([]);
  });

  it("of a space that doesn't exist is a job that doesn't exist", async () => {
    const edge = new Edge();
    edge.answers.job = () => refusal("space_not_found");
    const [, problem] = await edge.problem("GET", `/api/jobs/gone.${ULID}`);
    expect(problem.code).toBe("job_not_found");
    edge.answers.job = () => refusal("not_authenticated");
    expect((await edge.problem("GET", `/api/jobs/demo.${ULID}`))[1].code).toBe("not_authenticated");
  });

  it("is listed by its space, from the cursor on, which may be a whole id", async () => {
    const edge = new Edge();
    edge.answers.jobs = () => body({ jobs: [] });
    const list = (query: string) =>
      edge.request("GET", `/api/spaces/demo/jobs${query}`, undefined, OPERATOR);
    for (const query of ["", `?cursor=demo.${ULID}&limit=7&status=queued`, `?cursor=${ULID}`]) {
      expect((await list(query)).status).toBe(200);
    }
    expect((await list("?limit=0")).status).toBe(422);
    expect(edge.argsOf("jobs")).toEqual([
      [expect.objectContaining({ isAdmin: true }), { limit: 20, before: undefined }],
      [expect.objectContaining({ isAdmin: true }), { limit: 7, status: "queued", before: ULID }],
      [expect.objectContaining({ isAdmin: true }), { limit: 20, before: ULID }],
    ]);
  });
});

describe("a file", () => {
  const KEY = "spaces/demo/inputs/01J/0";

  function signed(edge: Edge, key: string, expiresAt: number): string {
    const { pathname, search } = new URL(
      signedFileUrl(edge.env.SIGNING_KEY, "https://edge.test", key, expiresAt),
    );
    return pathname + search;
  }

  it("is sent to whoever has its signed address, as an attachment that nobody keeps (W14)", async () => {
    const edge = new Edge();
    edge.files.set(KEY, new Uint8Array([1, 2, 3]));
    const response = await edge.request("GET", signed(edge, KEY, Date.now() + 60_000));
    expect(response.status).toBe(200);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array([1, 2, 3]));
    expect(Object.fromEntries(response.headers.entries())).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": "attachment",
      "content-length": "3",
      "x-content-type-options": "nosniff",
      "cache-control": "private, no-store",
    });
  });

  it("is refused with 403 without a valid signature, and 404 if it no longer exists (W14a)", async () => {
    const edge = new Edge();
    edge.files.set(KEY, new Uint8Array([1]));
    const codeOf = async (path: string) => (await edge.problem("GET", path))[1].code;
    expect(await codeOf(`/api/files/${KEY}`)).toBe("not_allowed");
    expect(await codeOf(signed(edge, KEY, Date.now() - 2_000))).toBe("not_allowed");
    expect(await codeOf(signed(edge, KEY, Date.now() + 60_000).replace("/01J/", "/01K/"))).toBe(
      "not_allowed",
    );
    edge.files.clear();
    expect(await codeOf(signed(edge, KEY, Date.now() + 60_000))).toBe("file_not_found");
  });
});

describe("the numbers of the edge", () => {
  const totals = {
    ...noTotals(),
    sources: { space: 1, job: 2, room: 3, gateway: 4 },
    connections: { space: 5, job: 6, room: 7, gateway: 8 },
    jobsWithConnections: 9,
    jobs: { active: 10, completed: 11, failed: 12, canceled: 13 },
  };

  it("come from the one monitor, as JSON and for Prometheus (M3)", async () => {
    const edge = new Edge();
    edge.answers.overview = () => totals;
    const stats = await edge.request("GET", "/api/v1/websocket/stats", undefined, OPERATOR);
    expect(await stats.json()).toMatchObject({
      jobs: { total: 46, active: 10, completed: 11, failed: 12, canceled: 13 },
      websockets: { total_connections: 26, jobs_with_connections: 9 },
      sources: { spaces: 1, jobs: 2, rooms: 3, gateways: 4 },
    });
    const metrics = await edge.request("GET", "/metrics", undefined, OPERATOR);
    expect(metrics.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const lines = (await metrics.text()).split("\n").filter((line) => /^[a-z]/.test(line));
    expect(lines.sort()).toEqual(
      [
        'dialout_jobs{status="completed"} 11',
        'dialout_jobs{status="failed"} 12',
        'dialout_jobs{status="canceled"} 13',
        "dialout_jobs_active 10",
        'dialout_websocket_connections{kind="space"} 5',
        'dialout_websocket_connections{kind="job"} 6',
        'dialout_websocket_connections{kind="room"} 7',
        'dialout_websocket_connections{kind="gateway"} 8',
        'dialout_sources{kind="space"} 1',
        'dialout_sources{kind="job"} 2',
        'dialout_sources{kind="room"} 3',
        'dialout_sources{kind="gateway"} 4',
        "dialout_jobs_with_connections 9",
      ].sort(),
    );
    expect(edge.asked).toEqual(["monitor monitor: overview", "monitor monitor: overview"]);
  });
});

describe("a page", () => {
  it("is sent with headers that allow only this edge's own parts", async () => {
    const edge = new Edge();
    edge.answers.describe = () => body({});
    const response = await edge.request("GET", "/spaces/demo");
    expect([response.status, await response.text()]).toEqual([200, "the page /space"]);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy.split(/; */).filter(Boolean).sort()).toEqual([
      "base-uri 'none'",
      "connect-src 'self'",
      "default-src 'self'",
      "frame-ancestors 'none'",
      "img-src 'self' data: blob:",
      "object-src 'none'",
    ]);
    expect(await (await edge.request("GET", "/")).text()).toBe("the page /home");
  });

  it("of a space is sent with 404 if there is none or it is hidden, and with 200 in trouble (H20)", async () => {
    const edge = new Edge();
    const statusWith = async (answer: () => unknown) => {
      edge.answers.describe = answer;
      const response = await edge.request("GET", "/spaces/demo");
      expect(await response.text()).toBe("the page /space");
      return response.status;
    };
    expect(await statusWith(() => refusal("space_not_found"))).toBe(404);
    expect(await statusWith(() => refusal("not_authenticated"))).toBe(404);
    expect(await statusWith(() => refusal("temporarily_unavailable"))).toBe(200);
    expect(
      await statusWith(() => {
        throw new Error("overloaded");
      }),
    ).toBe(200);
    const wrong = await edge.request("GET", "/spaces/demo?token=wrong");
    expect(wrong.status).toBe(404);
  });

  it("has one address: others redirect to it, with their query and to no other host (H9a)", async () => {
    const edge = new Edge();
    const goesTo = async (path: string) => {
      const response = await edge.request("GET", path);
      return [response.status, response.headers.get("location")];
    };
    expect(await goesTo("/spaces/demo/?a=1")).toEqual([301, "/spaces/demo?a=1"]);
    expect(await goesTo("/spaces/")).toEqual([301, "/spaces"]);
    expect(await goesTo("/spaces")).toEqual([302, "/"]);
  });

  it("that is missing is sent as the assets answer it", async () => {
    const edge = new Edge();
    edge.env.ASSETS = { fetch: async () => new Response("none", { status: 404 }) } as never;
    edge.answers.describe = () => body({});
    const response = await edge.request("GET", "/spaces/demo");
    expect([response.status, await response.text()]).toEqual([404, "none"]);
  });
});
