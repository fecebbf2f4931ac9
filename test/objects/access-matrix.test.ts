import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { DOORS, type Door, nameOf } from "../access/doors.ts";
import { ENDED, type Ended, PARTIES, type Party } from "../access/parties.ts";
import { RIGHTS } from "../access/rights.ts";
import { callAs, makeMember, OWN_PAGE, type SignedIn } from "./accounts-support.ts";
import { makeJob } from "./backend-jobs-support.ts";
import { freshRoom, userToken } from "./rooms-support.ts";
import { call, expectStatus, makeSpace, OPERATOR } from "./support.ts";

type Headers_ = Record<string, string>;

interface Asked {
  path?: string;
  body?: unknown;
  headers?: Headers_;
}

/** People, a private space, its jobs, and everything with which somebody may come. */
class World {
  readonly people = {} as Record<"member" | "user" | "manager" | "owner" | "admin", SignedIn>;
  readonly room = freshRoom();
  space = { name: "", token: "", tokenId: "" };
  elsewhere = { name: "", token: "", tokenId: "" };
  job = "";
  backendJob = "";
  ended = {} as Record<Ended, Headers_>;
  private readonly keys = new Map<string, Headers_>();
  private made = 0;

  static async make(): Promise<World> {
    const world = new World();
    const { people } = world;
    for (const name of ["member", "user", "manager", "owner"] as const) {
      people[name] = await makeMember();
    }
    people.admin = await makeMember("admin");
    world.space = await world.makeSpace();
    world.elsewhere = await makeSpace();
    world.job = await world.makeJob();
    world.backendJob = await makeJob({ visibility: "private", user: people.user.id });
    world.ended = await world.endAll();
    return world;
  }

  /** Makes a private space of the owner's, with its members. */
  async makeSpace() {
    const space = await makeSpace({ visibility: "private", offline: "queue" });
    const path = `/api/spaces/${space.name}`;
    const { owner, user, manager } = this.people;
    await expectStatus(200, await call("PATCH", path, { owner: owner.id }, OPERATOR));
    for (const [id, access] of [
      [user.id, "use"],
      [manager.id, "manage"],
    ]) {
      await expectStatus(200, await call("PUT", `${path}/members/${id}`, { access }, OPERATOR));
    }
    return space;
  }

  /** Makes a job that is the user's. */
  async makeJob(): Promise<string> {
    const path = `/api/spaces/${this.space.name}/jobs`;
    const body = { input: {}, user: this.people.user.id };
    const made = await expectStatus(202, await call("POST", path, body, OPERATOR));
    return (await made.json<{ id: string }>()).id;
  }

  fresh(): string {
    this.made += 1;
    return `fresh-${this.made}`;
  }

  async headersOf(party: Party, door: Door): Promise<Headers_> {
    switch (party) {
      case "anonymous":
        return {};
      case "operator":
        return OPERATOR;
      case "worker":
        return bearer(this.space.token);
      case "strange_worker":
        return bearer(this.elsewhere.token);
      case "key":
        return this.keyFor(this.scopeOf(door));
      case "key_lacking":
        return this.keyFor("rooms:read:global");
      case "key_elsewhere":
        return this.keyFor(this.scopeOf(door), this.elsewhere.name);
      case "token":
        return bearer(await userToken("tess", this.claims()));
      case "token_lacking":
        return bearer(await userToken("tom"));
      default:
        return this.session(this.people[party]);
    }
  }

  private claims() {
    const names = [this.room, `job:${this.backendJob}`, "job:*"];
    return { spaces: ["space-*"], rooms: names, publish: names };
  }

  private scopeOf({ scope = "jobs:read" }: Door): string {
    return scope.replace("<room>", this.room);
  }

  private session({ cookie, address }: SignedIn): Headers_ {
    return { ...OWN_PAGE, cookie, "cf-connecting-ip": address };
  }

  private async keyFor(scope: string, space?: string): Promise<Headers_> {
    const name = `${scope} ${space}`;
    const known = this.keys.get(name);
    if (known) return known;
    const maker = /^(?:rooms:|metrics:)/.test(scope) ? this.people.admin : this.people.owner;
    const made = await this.newKey({ scopes: [scope], ...(space ? { space } : {}) }, maker);
    this.keys.set(name, bearer(made.key));
    return bearer(made.key);
  }

  private async newKey(body: object, maker = this.people.owner) {
    const made = await callAs(maker, "POST", "/api/keys", { name: "key", ...body });
    return (await expectStatus(201, made)).json<{ id: string; key: string }>();
  }

  private async endAll(): Promise<Record<Ended, Headers_>> {
    const { owner } = this.people;
    const scopes = ["jobs:read", "jobs:write", "spaces:admin"];
    const [revoked, expired] = [await this.newKey({ scopes }), await this.newKey({ scopes })];
    await expectStatus(204, await callAs(owner, "DELETE", `/api/keys/${revoked.id}`));
    await env.DB.prepare("UPDATE api_keys SET expires_at = 1 WHERE id = ?").bind(expired.id).run();
    const [left, disabled] = [await makeMember("admin"), await makeMember("admin")];
    await expectStatus(204, await callAs(left, "POST", "/api/auth/sign-out"));
    const path = `/api/users/${disabled.id}`;
    await expectStatus(200, await call("PATCH", path, { disabled: true }, OPERATOR));
    const tokens = `/api/spaces/${this.space.name}/tokens`;
    const minted = await call("POST", tokens, { name: "old" }, OPERATOR);
    const { id, token } = await minted.json<{ id: string; token: string }>();
    await expectStatus(204, await call("DELETE", `${tokens}/${id}`, undefined, OPERATOR));
    return {
      expired_token: bearer(await userToken("tess", this.claims(), -60)),
      revoked_key: bearer(revoked.key),
      expired_key: bearer(expired.key),
      ended_session: this.session(left),
      disabled_account: this.session(disabled),
      revoked_worker: bearer(token),
    };
  }
}

function bearer(token: string): Headers_ {
  return { authorization: `Bearer ${token}` };
}

/** What is asked at a door whose address alone says too little; what is changed or erased is made for each. */
const ASKED: Record<string, (world: World) => Asked | Promise<Asked>> = {
  "POST /api/spaces": (world) => ({ body: { name: world.fresh() } }),
  "PATCH /api/spaces/:space": () => ({ body: { title: "another" } }),
  "DELETE /api/spaces/:space": async (world) => ({
    path: `/api/spaces/${(await world.makeSpace()).name}`,
  }),
  "PUT /api/spaces/:space/members/:user": () => ({ body: { access: "use" } }),
  "DELETE /api/spaces/:space/members/:user": () => ({ path: "/api/spaces/:space/members/nobody" }),
  "POST /api/spaces/:space/tokens": () => ({ body: { name: "token" } }),
  "POST /api/spaces/:space/jobs": () => ({ body: { input: {} } }),
  "POST /api/spaces/:space/jobs/batch": () => ({ body: { jobs: [{ input: {} }] } }),
  "DELETE /api/jobs/:job": async (world) => ({ path: `/api/jobs/${await world.makeJob()}` }),
  "POST /api/jobs (no space)": (world) => ({ body: { id: world.fresh() } }),
  "DELETE /api/jobs/:job (no space)": async () => ({ path: `/api/jobs/${await makeJob()}` }),
  "POST /api/jobs/:job/progress (no space)": () => ({ body: { progress: 5 } }),
  "POST /api/jobs/:job/output (no space)": () => ({ body: { delta: "x" } }),
  "POST /api/jobs/:job/complete (no space)": () => ({ body: { result: 1 } }),
  "POST /api/jobs/:job/fail (no space)": () => ({ body: { message: "x" } }),
  "POST /api/rooms/:room/events": () => ({ body: { type: "a.b" } }),
  "GET /websockets/status": () => ({ path: "/websockets/status?request_id=:job" }),
  "POST /api/auth/oauth": () => ({ body: {} }),
  "POST /api/tokens": () => ({ body: {} }),
  "PATCH /api/me": () => ({ body: { name: "Another" } }),
  "DELETE /api/me": () => ({ body: { password: "not mine" } }),
  "POST /api/me/password": () => ({
    body: { current_password: "not mine", new_password: "a long password 2" },
  }),
  "POST /api/keys": () => ({ body: { name: "key", scopes: ["jobs:read"] } }),
  "POST /api/uploads": ({ space }) => ({
    headers: {
      "tus-resumable": "1.0.0",
      "upload-length": "1",
      "upload-metadata": `space ${btoa(space.name)}`,
    },
  }),
  "PATCH /api/users/:id": () => ({ body: { role: "member" } }),
  "POST /api/invitations": () => ({ body: {} }),
};

const TRIED = DOORS.filter(({ triedIn }) => triedIn === undefined);

/** These end the very session with which the other doors are tried. */
const ENDS_SESSION = new Set(["POST /api/auth/sign-out"]);

const REFUSALS = new Set(["not_authenticated", "not_allowed", "space_not_found", "job_not_found"]);
const CLOSES = new Set([4401, 4403, 4404]);

/** Asks at a door; returns the code with which it refuses, and `null` if it lets in. */
async function ask(world: World, door: Door, headers: Headers_): Promise<string | null> {
  const { path = door.path, body, headers: asked } = (await ASKED[nameOf(door)]?.(world)) ?? {};
  const parameters: Record<string, string> = {
    space: world.space.name,
    job: door.isBackendJob ? world.backendJob : world.job,
    room: encodeURIComponent(world.room),
    user: world.people.user.id,
    id: "none",
    key: "none",
  };
  const address = path.replace(/:([a-z]+)/g, (_, name) => parameters[name] ?? name);
  const isSocket = door.method === "SOCKET";
  const response = await exports.default.fetch(`https://localhost${address}`, {
    method: isSocket ? "GET" : door.method,
    headers: {
      ...(isSocket ? { upgrade: "websocket" } : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...asked,
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (response.webSocket) return refusalOfSocket(response.webSocket);
  if (response.ok || !response.headers.get("content-type")?.includes("json")) {
    await response.body?.cancel();
    return null;
  }
  const { code } = await response.json<{ code: string }>();
  return REFUSALS.has(code) ? code : null;
}

/** What the socket says first: it is opened for whoever has no right, too, so that a browser learns why. */
function refusalOfSocket(socket: WebSocket): Promise<string | null> {
  return new Promise((resolve) => {
    socket.addEventListener("close", ({ code }) => resolve(CLOSES.has(code) ? `${code}` : null));
    socket.addEventListener("message", ({ data }) => {
      const { type, code } = JSON.parse(String(data));
      resolve(type === "connection.error" ? String(code) : null);
      socket.close(1000);
    });
    socket.accept();
  });
}

/** Here it counts which page asks, or with which address, and not only who: strangers get 403. */
const FOR_PAGES = new Set<Door["right"]>(["session", "page", "signed"]);

let world: World;

beforeAll(async () => {
  world = await World.make();
}, 120_000);

describe("every door", () => {
  it.each(TRIED.map((door) => [nameOf(door), door] as const))("%s", async (name, door) => {
    const right: readonly Party[] = RIGHTS[door.right].parties;
    const wrong: string[] = [];
    for (const party of Object.keys(PARTIES) as Party[]) {
      if (ENDS_SESSION.has(name) && party in world.people) continue;
      const refusal = await ask(world, door, await world.headersOf(party, door));
      if ((refusal === null) !== right.includes(party)) wrong.push(`${party}: ${refusal}`);
      if (party === "anonymous" && refusal !== null) {
        // A page of the edge is what may do this, not who: other senders are told so.
        if (!FOR_PAGES.has(door.right)) expect(["not_authenticated", "4401"]).toContain(refusal);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("a right that has ended", () => {
  it.each(Object.keys(ENDED) as Ended[])("%s opens no door", async (ended) => {
    const open: string[] = [];
    for (const door of TRIED) {
      if (["open", "anybody", "page"].includes(door.right)) continue;
      const refusal = await ask(world, door, world.ended[ended]);
      if (refusal === null) open.push(nameOf(door));
    }
    expect(open).toEqual([]);
  });
});
