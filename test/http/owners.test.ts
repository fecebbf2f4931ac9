import { describe, expect, it } from "vitest";
import { ApiKeys } from "../../src/accounts/api-keys.ts";
import { secretHash } from "../../src/auth/secrets.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/resources.ts";
import { asUser, body, Edge, OPERATOR, refusal } from "./edge.ts";

const JOB = "/api/jobs/demo.01KA7Z3QK0ABCDEFGHJKMNPQRS";
const JOBS = "/api/spaces/demo/jobs";
const SETTINGS = JSON.stringify(DEFAULT_SETTINGS);

/** An edge on which ann is a member, ben an admin. */
async function edgeWithUsers(settings: ConstructorParameters<typeof Edge>[0] = {}): Promise<Edge> {
  const edge = new Edge(settings);
  for (const [id, role] of [
    ["ann", "member"],
    ["ben", "admin"],
    ["cleo", "member"],
  ]) {
    await edge.env.DB.prepare(
      `INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt", role)
       VALUES (?, ?, ?, 1, '2026', '2026', ?)`,
    )
      .bind(id, `${id}'s name`, `${id}@example.com`, role)
      .run();
  }
  return edge;
}

/** The header with a key of somebody. */
async function keyOf(edge: Edge, owner: string | null, scopes: string[], space?: string) {
  const made = { name: "k", scopes, space, expires_in_s: null };
  const { key } = await new ApiKeys(edge.env.DB).make(made, owner);
  return { authorization: `Bearer ${key}` };
}

/** What the object was told of the caller. */
const callerIn = (edge: Edge, method: string) => edge.argsOf(method).at(-1)?.[0];

describe("who asks", () => {
  it("reaches the space's object with what the credential allows (H1b, H1c, H1d)", async () => {
    const edge = await edgeWithUsers();
    edge.answers.describe = () => body({});
    const seenAs = async (headers: Record<string, string>) => {
      await edge.request("GET", "/api/spaces/demo", undefined, headers);
      return callerIn(edge, "describe");
    };
    expect(await seenAs({})).toMatchObject({ userId: null, isAdmin: false, spaces: null });
    expect(await seenAs(await asUser("ann", { spaces: ["demo", "team-*"] }))).toMatchObject({
      userId: "ann",
      spaces: ["demo", "team-*"],
      mayManage: false,
    });
    expect(await seenAs(await asUser("ann", { spaces: "a b*" }))).toMatchObject({
      spaces: ["a", "b*"],
    });
    expect(await seenAs(await keyOf(edge, "ann", ["jobs:read"], "demo"))).toMatchObject({
      userId: "ann",
      isAdmin: false,
      onlySpace: "demo",
      mayRead: true,
      mayWrite: false,
      mayManage: false,
    });
    expect(await seenAs(await keyOf(edge, "ben", ["spaces:admin"]))).toMatchObject({
      isAdmin: true,
      mayRead: false,
      mayManage: true,
    });
  });

  it("with a token whose claim `spaces` is malformed is refused, and told why (H1d)", async () => {
    const edge = new Edge();
    for (const spaces of [["Demo"], ["a*b"], ["*a"], [1], { demo: true }]) {
      const [status, problem] = await edge.problem(
        "GET",
        "/api/spaces/demo",
        undefined,
        await asUser("ann", { spaces }),
      );
      expect([status, problem.detail.includes("`spaces")]).toEqual([401, true]);
    }
  });

  it("with an expired token is a stranger for reading, and told so where that matters (H1f)", async () => {
    const edge = new Edge();
    edge.answers.describe = () => body({});
    edge.answers.job = () => body({});
    const exp = Math.floor(Date.now() / 1_000) - 3_600;
    const expired = await asUser("ann", { exp, spaces: ["*"] });
    for (const [path, method] of [
      ["/api/spaces/demo", "describe"],
      [JOB, "job"],
    ] as const) {
      expect((await edge.request("GET", path, undefined, expired)).status).toBe(200);
      expect(callerIn(edge, method)).toMatchObject({
        userId: null,
        spaces: null,
        expired: expect.stringContaining("has expired, 60 min ago"),
      });
    }
    const refused = [
      await edge.problem("GET", JOBS, undefined, expired),
      await edge.problem("POST", `${JOB}/share`, undefined, expired),
      await edge.problem("POST", "/api/spaces", { name: "x" }, expired),
      await edge.problem("GET", "/api/rooms/global/history", undefined, expired),
    ];
    for (const [status, problem] of refused) {
      expect([status, problem.code]).toEqual([401, "not_authenticated"]);
      expect(problem.detail).toContain("expired");
    }
    const wrong = { authorization: `${expired.authorization}x` };
    expect((await edge.problem("GET", "/api/spaces/demo", undefined, wrong))[0]).toBe(401);
  });
});

describe("a job", () => {
  it("is shared by a token that only its hash is stored of, in no address that is sent (H1h)", async () => {
    const edge = new Edge();
    edge.answers.share = () => ({ ok: true, body: "" });
    edge.answers.job = () => body({});
    const made = await edge.request("POST", `${JOB}/share`, undefined, OPERATOR);
    const { url, token } = await made.json<{ url: string; token: string }>();
    expect(made.status).toBe(201);
    const { origin, pathname, search, hash } = new URL(url);
    expect([origin, pathname, search]).toEqual(["https://edge.test", "/spaces/demo", ""]);
    expect(hash).toContain(token);
    expect(edge.argsOf("share")[0]?.[2]).toBe(secretHash(token));
    for (const [path, headers] of [
      [JOB, { "job-share": token }],
      [`${JOB}?share=${token}`, {}],
    ] as [string, Record<string, string>][]) {
      await edge.request("GET", path, undefined, headers);
      expect(callerIn(edge, "job")).toMatchObject({ share: secretHash(token), userId: null });
    }
    const withdrawn = await edge.request("DELETE", `${JOB}/share`, undefined, OPERATOR);
    expect([withdrawn.status, edge.argsOf("share")[1]?.[2]]).toEqual([204, null]);
  });

  it("is erased where its object lets it be (H1i)", async () => {
    const edge = new Edge();
    edge.answers.erase = () => ({ ok: true, body: "" });
    expect((await edge.request("DELETE", JOB, undefined, OPERATOR)).status).toBe(204);
    edge.answers.erase = () => refusal("job_not_found");
    expect((await edge.problem("DELETE", JOB, undefined, OPERATOR))[0]).toBe(404);
  });

  it("in a batch is refused alone if it names somebody else's user (H1j, H13)", async () => {
    const edge = new Edge();
    edge.answers.submit = () => [
      refusal("not_allowed"),
      { ok: true, body: "{}", ulid: "x", isRepeat: false },
    ];
    const jobs = [{ input: {}, user: "ann" }, { input: {} }];
    const response = await edge.request("POST", `${JOBS}/batch`, { jobs });
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({
      jobs: [{ error: { status: 403 } }, { job: {} }],
    });
    edge.answers.submit = () => [{ ...refusal("not_allowed"), isOfAll: true }];
    expect((await edge.problem("POST", `${JOBS}/batch`, { jobs }))[0]).toBe(403);
  });

  it("of a form names its user in the address, since `user` is a field of the input (H1j)", async () => {
    const edge = new Edge();
    edge.answers.describe = () => body({});
    const form = "--b\r\nContent-Disposition: form-data; name=user\r\n\r\nfield\r\n--b--\r\n";
    const headers = { ...OPERATOR, "content-type": "multipart/form-data; boundary=b" };
    edge.answers.submit = () => [{ ok: true, body: "{}", ulid: "x", isRepeat: false }];
    edge.answers.describe = () =>
      body({ ...(JSON.parse(SETTINGS) as object), enable_prompt: true });
    expect((await edge.request("POST", `${JOBS}?user=ann`, form, headers)).status).toBe(202);
    expect(edge.argsOf("submit")[0]?.[1]).toMatchObject([
      { input: '{"user":"field"}', options: { user: "ann" } },
    ]);
    expect((await edge.problem("POST", `${JOBS}?user=a%20b`, form, headers))[0]).toBe(422);
  });

  it("is answered to a key that may submit and not read as it was made, without a wait (H1c)", async () => {
    const edge = await edgeWithUsers();
    edge.answers.submit = () => [{ ok: true, body: "{}", ulid: "x", isRepeat: false }];
    const key = await keyOf(edge, "ann", ["jobs:write"]);
    const headers = { ...key, prefer: "wait=9", accept: "text/event-stream" };
    expect((await edge.request("POST", JOBS, { input: {} }, headers)).status).toBe(202);
    expect(edge.asked).toEqual(["space demo: submit"]);
  });
});

describe("a space", () => {
  it("is made by members only where the operator lets them, as many as they may own (H1m)", async () => {
    const closed = await edgeWithUsers();
    const scopes = ["spaces:admin"];
    const make = async (edge: Edge, headers: Record<string, string>, name: string) =>
      (await edge.problem("POST", "/api/spaces", { name }, headers))[1].code ?? "made";
    const refusedKey = await keyOf(closed, "ann", scopes);
    expect(await make(closed, refusedKey, "mine")).toBe("not_allowed");
    const edge = await edgeWithUsers({ SPACE_CREATION: "members", MAX_SPACES_PER_USER: "2" });
    edge.answers.describe = () => body({});
    const key = await keyOf(edge, "ann", scopes);
    const only = await keyOf(edge, "ann", scopes, "demo");
    expect(await make(edge, await asUser("ann", { spaces: ["*"] }), "mine")).toBe("not_allowed");
    expect(await make(edge, await keyOf(edge, "ann", ["jobs:write"]), "mine")).toBe("not_allowed");
    expect(await make(edge, only, "mine")).toBe("not_allowed");
    expect(await make(edge, key, "mine")).toBe("made");
    expect(edge.argsOf("create")[0]?.[3]).toBe("ann");
    expect(await make(edge, key, "demo")).toBe("space_exists");
    expect(await make(edge, key, "mine-2")).toBe("made");
    expect(await make(edge, key, "mine-3")).toBe("limit_reached");
    for (let count = 0; count < 3; count += 1) {
      expect(await make(edge, await keyOf(edge, "ben", scopes), `admin-${count}`)).toBe("made");
    }
  });

  it("has members by their id or address, and tells nobody else who has an account (H1l)", async () => {
    const edge = await edgeWithUsers();
    edge.answers.putMember = () => body({});
    edge.answers.removeMember = () => body({});
    edge.answers.members = () =>
      body({
        owner: "ben",
        members: [
          { user: "ann", access: "use" },
          { user: "gone", access: "use" },
        ],
      });
    const path = "/api/spaces/demo/members";
    const put = (user: string) =>
      edge.request("PUT", `${path}/${user}`, { access: "use" }, OPERATOR);
    for (const user of ["ann", "ANN@example.com"]) {
      expect(await (await put(user)).json()).toEqual({
        user: "ann",
        name: "ann's name",
        access: "use",
      });
    }
    expect(edge.argsOf("putMember").map(([, ...args]) => args)).toEqual([
      ["ann", "use"],
      ["ann", "use"],
    ]);
    expect((await put("nobody@example.com")).status).toBe(404);
    const listed = await edge.request("GET", path, undefined, OPERATOR);
    expect(await listed.json()).toEqual({
      owner: "ben",
      members: [
        { user: "ann", name: "ann's name", access: "use" },
        { user: "gone", name: null, access: "use" },
      ],
    });
    expect((await edge.request("DELETE", `${path}/ann`, undefined, OPERATOR)).status).toBe(204);
    edge.answers.authorize = () => refusal("not_allowed");
    expect([(await put("ann")).status, (await put("nobody")).status]).toEqual([403, 403]);
  });

  it("is handed over to an account that can take it, and noted (H1m)", async () => {
    const edge = await edgeWithUsers({ MAX_SPACES_PER_USER: "1" });
    edge.answers.change = ({ args }) => body({ ...JSON.parse(SETTINGS), ...(args[1] as object) });
    const hand = (owner: unknown, headers: Record<string, string> = OPERATOR) =>
      edge.problem("PATCH", "/api/spaces/demo", { owner }, headers);
    expect((await hand("nobody"))[1].code).toBe("user_not_found");
    expect((await hand("cleo@example.com"))[1].code).toBe("user_not_found");
    expect((await hand("cleo"))[0]).toBe(200);
    const key = await keyOf(edge, "ann", ["spaces:admin"]);
    expect((await hand("cleo", key))[1].code).toBe("limit_reached");
    expect((await hand(null, key))[1].code).toBe("not_allowed");
    const mine = await edge.env.DB.prepare("SELECT owner FROM spaces WHERE name = 'demo'").first();
    expect(mine).toEqual({ owner: "cleo" });
    const noted = await edge.env.DB.prepare("SELECT action, details FROM audit").all();
    expect(noted.results).toMatchObject([{ action: "space.owner", details: '{"owner":"cleo"}' }]);
  });
});
