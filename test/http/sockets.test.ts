import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { asUser, body, Edge, ObjectSocket, OPERATOR, refusal, socketOf } from "./edge.ts";

const ULID = "01JCQ9X4T3N5V7W8Y2Z6A1B3C4";
const UPGRADE = { upgrade: "websocket" };

beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** An edge with the space `demo`, whose objects open every socket. */
async function edgeWithToken() {
  const edge = new Edge({}, []);
  edge.answers.create = () => undefined;
  edge.answers.describe = () => body({ name: "demo" });
  edge.answers.fetch = () => new ObjectSocket().answer;
  for (const name of ["demo", "other"])
    await edge.request("POST", "/api/spaces", { name }, OPERATOR);
  const minted = await edge.request("POST", "/api/spaces/demo/tokens", { name: "box" }, OPERATOR);
  const { id, token } = await minted.json<{ id: string; token: string }>();
  edge.calls.length = 0;
  const opened = (): Record<string, unknown> & { headers: Headers } => {
    const [call] = edge.calls.filter(({ method }) => method === "fetch");
    if (!call) throw new Error("no socket was opened");
    return {
      object: call.object,
      ...socketOf(call),
      headers: (call.args[1] as { headers: Headers }).headers,
    };
  };
  return { edge, id, token, opened };
}

describe("the socket of a worker", () => {
  it("is opened at its space with the token's id and the origin of the edge (W1, W2)", async () => {
    const { edge, id, token, opened } = await edgeWithToken();
    const path = "/api/spaces/demo/connect?batch=1";
    const protocol = "dialout-worker.v1";
    await edge.request("GET", path, undefined, {
      ...UPGRADE,
      authorization: `Bearer ${token}`,
      "sec-websocket-protocol": protocol,
      "x-dialout-socket": "lie",
    });
    const socket = opened();
    expect(socket).toMatchObject({
      object: "space demo",
      kind: "worker",
      tokenId: id,
      batch: true,
      origin: "https://edge.test",
    });
    expect(socket.headers.get("sec-websocket-protocol")).toBe(protocol);
    expect(socket.headers.get("authorization")).toBeNull();
  });

  it("accepts its token in the address, too (W2)", async () => {
    const { edge, token, id, opened } = await edgeWithToken();
    await edge.request("GET", `/api/spaces/demo/connect?token=${token}`, undefined, UPGRADE);
    expect(opened()).toMatchObject({ tokenId: id, batch: false });
  });

  it("accepts its token as a subprotocol, as pages send it (W2a)", async () => {
    const { edge, token, id, opened } = await edgeWithToken();
    const offered = `dialout.worker.v1, dialout.token.${token}`;
    const headers = { ...UPGRADE, "sec-websocket-protocol": offered };
    await edge.request("GET", "/api/spaces/demo/connect", undefined, headers);
    expect(opened()).toMatchObject({ tokenId: id });
  });

  it("is answered over plain HTTP with the reason why it would be refused (W4b)", async () => {
    const { edge, token } = await edgeWithToken();
    const ask = async (given: string) => {
      const headers = { authorization: `Bearer ${given}` };
      const path = "/api/spaces/demo/connect";
      const [status, { code }] = await edge.problem("GET", path, undefined, headers);
      return [status, code];
    };
    expect(await ask("dow_wrong")).toEqual([401, "not_authenticated"]);
    const page = { authorization: "Bearer dow_wrong", origin: "https://page.test" };
    const answer = await edge.request("GET", "/api/spaces/demo/connect", undefined, page);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(await ask(token)).toEqual([426, "upgrade_required"]);
    expect(edge.argsOf("fetch")).toEqual([]);
  });

  it("is refused without a token of this space, and told who makes one (W4)", async () => {
    const { edge, token } = await edgeWithToken();
    const connect = async (space: string, headers: Record<string, string>) =>
      (
        await edge.problem("GET", `/api/spaces/${space}/connect`, undefined, {
          ...UPGRADE,
          ...headers,
        })
      )[1];
    const missing = await connect("demo", {});
    expect([missing.code, missing.detail]).toEqual([
      "not_authenticated",
      "A worker needs a token of the space demo, in `Authorization: Bearer <token>`. The operator makes one with POST /api/spaces/demo/tokens.",
    ]);
    const wrong = await connect("other", { authorization: `Bearer ${token}` });
    expect(wrong.detail).toContain("This token is not one of the space other");
    expect((await connect("demo", OPERATOR)).code).toBe("not_authenticated");
    edge.answers.describe = () => refusal("space_not_found");
    expect((await connect("gone", {})).code).toBe("space_not_found");
    expect(edge.argsOf("fetch")).toEqual([]);
  });

  it("needs an upgrade, in whatever letters", async () => {
    const { edge, token, opened } = await edgeWithToken();
    const path = `/api/spaces/demo/connect?token=${token}`;
    expect((await edge.request("GET", path)).status).toBe(426);
    await edge.request("GET", path, undefined, { upgrade: "WebSocket" });
    expect(opened().kind).toBe("worker");
  });
});

describe("the socket of a space", () => {
  it("is opened with its caller's rights and address, and what its address asks for (S1)", async () => {
    const { edge, opened } = await edgeWithToken();
    const headers = { ...UPGRADE, ...OPERATOR, "cf-connecting-ip": "9.9.9.9" };
    await edge.request("GET", "/api/spaces/demo/ws?since=e:1&batch=1", undefined, headers);
    expect(opened()).toMatchObject({
      object: "space demo",
      kind: "subscriber",
      jobUlid: null,
      caller: { isAdmin: true, address: "9.9.9.9", local: false },
      since: "e:1",
      batch: true,
    });
  });

  it("gives a user's token no more rights than none (H1a)", async () => {
    const { edge, opened } = await edgeWithToken();
    const user = await asUser("ann", { rooms: ["*"], publish: ["*"] });
    await edge.request("GET", "/api/spaces/demo/ws", undefined, { ...UPGRADE, ...user });
    expect(opened()).toMatchObject({ caller: { isAdmin: false, userId: "ann" }, batch: false });
  });

  it("that its object refuses is answered with the problem (S2)", async () => {
    const { edge } = await edgeWithToken();
    edge.answers.fetch = () => Response.json(refusal("not_authenticated"), { status: 404 });
    const [status] = await edge.problem("GET", "/api/spaces/demo/ws", undefined, UPGRADE);
    expect(status).toBe(401);
  });

  it("of this machine, on an edge for it alone, is not limited (H9c)", async () => {
    const { edge, opened } = await edgeWithToken();
    edge.env.LOCAL = "true";
    const headers = { ...UPGRADE, host: "localhost" };
    await edge.request("GET", "/api/spaces/demo/ws", undefined, headers);
    expect(opened()).toMatchObject({ caller: { local: true } });
  });
});

describe("the socket of one job of a space", () => {
  it.each(["/ws/", "/api/jobs/"])("at %s is opened at its space (S1)", async (prefix) => {
    const { edge, opened } = await edgeWithToken();
    const path = `${prefix}demo.${ULID}${prefix === "/ws/" ? "" : "/ws"}`;
    const query = "?since=e:1&max_rate=5&acks=1&batch=1";
    await edge.request("GET", path + query, undefined, UPGRADE);
    expect(opened()).toMatchObject({
      object: "space demo",
      kind: "subscriber",
      jobUlid: ULID,
      caller: { isAdmin: false },
      since: "e:1",
      maxRate: 5,
      acks: true,
      batch: true,
    });
  });

  it("with a wrong rate, or of a space that doesn't exist, is refused (S2)", async () => {
    const { edge } = await edgeWithToken();
    const ask = async (path: string) =>
      (await edge.problem("GET", path, undefined, UPGRADE))[1].code;
    expect(await ask(`/ws/demo.${ULID}?max_rate=0`)).toBe("invalid_request");
    expect(edge.argsOf("fetch")).toEqual([]);
    edge.answers.fetch = () => Response.json(refusal("space_not_found"), { status: 404 });
    expect(await ask(`/ws/gone.${ULID}`)).toBe("job_not_found");
    expect(await ask("/ws/demo.nonsense")).toBe("job_not_found");
  });
});
