import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { callAs, makeKey, makeMember, OWN_PAGE, withKey } from "./accounts-support.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type NamedSpace,
  OPERATOR,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

/** Replaces the platform's rate limiter: allows `allowed` submits for each address, and can delay its answers or fail. */
class FakeLimiter {
  readonly addresses: string[] = [];
  private readonly allowed: number;
  isDelayed = false;
  isBroken = false;

  constructor(allowed: number) {
    this.allowed = allowed;
  }

  async limit({ key }: { key: string }): Promise<{ success: boolean }> {
    const turn = this.addresses.push(key);
    const count = this.addresses.filter((other) => other === key).length;
    if (this.isBroken) throw new Error("no answer");
    // Polls, because a promise of this object must not be resolved from outside of it.
    if (this.isDelayed) {
      while (this.isDelayed) await scheduler.wait(1);
      // The newest call is answered first.
      for (let newer = turn; newer < this.addresses.length; newer += 1) await scheduler.wait(2);
    }
    return { success: count <= this.allowed };
  }
}

let made = 0;

/** Makes a space whose object counts submits with this limiter. */
async function makeLimitedSpace(limiter: FakeLimiter | RateLimit) {
  made += 1;
  const name = `rate-${made}-${crypto.randomUUID().slice(0, 8)}`;
  await runInDurableObject(objectOf({ name }), (object) => {
    const settings = Reflect.get(object, "env");
    Reflect.set(object, "env", { ...settings, LOCAL: "false", SUBMITS: limiter });
  });
  const body = { name, offline: "queue" };
  await expectStatus(201, await call("POST", "/api/spaces", body, OPERATOR));
  const minted = await call("POST", `/api/spaces/${name}/tokens`, { name: "test" }, OPERATOR);
  const { token } = await minted.json<{ token: string }>();
  return { name, token };
}

function dial(space: NamedSpace, address: string, headers: Record<string, string> = {}) {
  const from = { "cf-connecting-ip": address, ...headers };
  return TestSocket.open(`/api/spaces/${space.name}/ws`, from);
}

describe("submits over the socket of a space", () => {
  it("above the limit of their address are refused with their `ref`, and make no job (S9b)", async () => {
    const limiter = new FakeLimiter(2);
    const space = await makeLimitedSpace(limiter);
    const socket = await dial(space, "192.0.2.1");
    for (const ref of [1, 2, "three"]) socket.send({ type: "submit", ref, input: {} });
    const frames = await socket.until((frame) => frame.ref === "three");
    expect(frames.filter(({ type }) => type === "accepted").map(({ ref }) => ref)).toEqual([1, 2]);
    expect(frames.at(-1)).toMatchObject({
      type: "error",
      code: "rate_limited",
      message: expect.stringContaining("try again in a minute"),
    });
    const listed = await call("GET", `/api/spaces/${space.name}/jobs`, undefined, OPERATOR);
    expect((await listed.json<{ jobs: object[] }>()).jobs).toHaveLength(2);
  });

  it("are counted for their address over all its sockets, and not for another address (S9b)", async () => {
    const limiter = new FakeLimiter(1);
    const space = await makeLimitedSpace(limiter);
    const first = await dial(space, "192.0.2.1");
    first.send({ type: "submit", ref: 1, input: {} });
    await first.next("accepted");
    const again = await dial(space, "192.0.2.1");
    again.send({ type: "submit", ref: 2, input: {} });
    expect(await again.next((frame) => frame.ref === 2)).toMatchObject({ code: "rate_limited" });
    const other = await dial(space, "2001:db8::1");
    other.send({ type: "submit", ref: 3, input: {} });
    expect(await other.next((frame) => frame.ref === 3)).toMatchObject({ type: "accepted" });
    expect(limiter.addresses).toEqual([
      "address 192.0.2.1",
      "address 192.0.2.1",
      "address 2001:db8:0:0",
    ]);
  });

  it("of the operator, and other frames, are not counted", async () => {
    const limiter = new FakeLimiter(0);
    const space = await makeLimitedSpace(limiter);
    const operator = await dial(space, "192.0.2.1", OPERATOR);
    operator.send({ type: "submit", ref: 1, input: {} });
    const { job_id } = await operator.next("accepted");
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "follow", job_id });
    await socket.next((frame) => frame.type === "connection" && frame.job_id === job_id);
    socket.send({ type: "submit", ref: 2 });
    expect(await socket.next("error")).toMatchObject({ code: "malformed_frame" });
    socket.send({ type: "cancel", job_id });
    await socket.next((frame) => frame.status === "canceled");
    expect(limiter.addresses).toEqual([]);
  });

  it("and the frames after them are handled in their order, in whatever order the limiter answers (S9c)", async () => {
    const limiter = new FakeLimiter(99);
    const space = await makeLimitedSpace(limiter);
    const { id } = await submit(space.name);
    const socket = await dial(space, "192.0.2.1");
    await socket.next("space.status");
    limiter.isDelayed = true;
    const refs = [1, 2, 3, 4, 5];
    for (const ref of refs) socket.send({ type: "submit", ref, input: { n: ref } });
    socket.send({ type: "cancel", job_id: `${space.name}.${"0".repeat(26)}`, ref: 6 });
    await expect.poll(() => limiter.addresses.length).toBe(refs.length);
    // Other sockets don't wait.
    const viewer = await TestSocket.open(`/ws/${id}`);
    viewer.send({ type: "cancel" });
    await viewer.next((frame) => frame.status === "canceled");
    limiter.isDelayed = false;
    const frames = await socket.until((frame) => frame.ref === 6);
    const answers = frames.filter(({ ref }) => ref !== undefined);
    expect(answers.map(({ ref }) => ref)).toEqual([...refs, 6]);
    const { socket: worker } = await connectWorker(space, { concurrency: 9 });
    const inputs: unknown[] = [];
    for (const _ of refs) inputs.push((await worker.next("job")).input);
    expect(inputs).toEqual(refs.map((n) => ({ n })));
  });

  it("are accepted even if their socket closes before the limiter answers, and canceled if they addresses for that (S11)", async () => {
    const limiter = new FakeLimiter(99);
    const space = await makeLimitedSpace(limiter);
    limiter.isDelayed = true;
    const leaving = await dial(space, "192.0.2.1");
    leaving.send({ type: "submit", ref: 1, input: { n: 1 } });
    const cancel_on_disconnect = true;
    leaving.send({ type: "submit", ref: 2, input: { n: 2 }, cancel_on_disconnect });
    await expect.poll(() => limiter.addresses.length).toBe(2);
    leaving.close();
    limiter.isDelayed = false;
    const canceled = async () => {
      const path = `/api/spaces/${space.name}/jobs?status=canceled`;
      return (await call("GET", path, undefined, OPERATOR)).json();
    };
    await expect.poll(canceled).toMatchObject({ jobs: [{ input: { n: 2 } }] });
    const { socket: worker } = await connectWorker(space);
    expect(await worker.next("job")).toMatchObject({ input: { n: 1 } });
  });

  it("that wait for the limiter while the space is deleted make no job", async () => {
    const limiter = new FakeLimiter(99);
    const space = await makeLimitedSpace(limiter);
    limiter.isDelayed = true;
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    await expect.poll(() => limiter.addresses.length).toBe(1);
    await expectStatus(204, await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR));
    limiter.isDelayed = false;
    expect((await socket.closed).code).toBe(4404);
    await expectStatus(404, await call("GET", `/api/spaces/${space.name}`));
  });

  it("pass the platform's own limiter", async () => {
    const space = await makeLimitedSpace(env.SUBMITS);
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    expect(await socket.next((frame) => frame.ref === 1)).toMatchObject({ type: "accepted" });
  });

  it("are accepted if the limiter fails", async () => {
    const limiter = new FakeLimiter(0);
    const space = await makeLimitedSpace(limiter);
    limiter.isBroken = true;
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    expect(await socket.next((frame) => frame.ref === 1)).toMatchObject({ type: "accepted" });
  });
});

describe("jobs", () => {
  const jobsOf = (count: number) => Array.from({ length: count }, (_, n) => ({ input: { n } }));

  function batch(space: NamedSpace, count: number, address: string, headers = {}) {
    const body = { jobs: jobsOf(count) };
    const from = { "cf-connecting-ip": address, ...headers };
    return call("POST", `/api/spaces/${space.name}/jobs/batch`, body, from);
  }

  async function makeRoomySpace() {
    const space = await makeLimitedSpace(new FakeLimiter(9_999));
    const path = `/api/spaces/${space.name}`;
    await expectStatus(200, await call("PATCH", path, { max_queue: 5_000 }, OPERATOR));
    return space;
  }

  it("count one by one for their address, and a batch is taken whole or not at all (H21)", async () => {
    const space = await makeRoomySpace();
    await expectStatus(202, await batch(space, 600, "192.0.2.1"));
    const refused = await batch(space, 600, "192.0.2.1");
    const waitS = Number(refused.headers.get("retry-after"));
    await expectStatus(429, refused);
    // 400 are left, and 10 come each second.
    expect(waitS).toBeGreaterThan(0);
    expect(waitS).toBeLessThanOrEqual(20);
    expect(await refused.json()).toMatchObject({
      code: "rate_limited",
      detail: expect.stringContaining(`try again in ${waitS} s`),
    });
    await expectStatus(202, await batch(space, 300, "192.0.2.1"));
    await expectStatus(202, await batch(space, 1_000, "192.0.2.2"));
    await expectStatus(202, await batch(space, 1_000, "192.0.2.1", OPERATOR));
  });

  it("by HTTP and over sockets count together (S9b, H21)", async () => {
    const space = await makeRoomySpace();
    await expectStatus(202, await batch(space, 1_000, "2001:db8::1"));
    const path = `/api/spaces/${space.name}/ws?batch=1`;
    const socket = await TestSocket.open(path, { "cf-connecting-ip": "2001:db8::2" });
    await socket.next("space.status");
    const frames = jobsOf(500).map(({ input }, ref) => ({ type: "submit", ref, input }));
    socket.send({ type: "batch", frames });
    const isRefused = (frame: object) => JSON.stringify(frame).includes("rate_limited");
    expect(await socket.next(isRefused)).toBeDefined();
  });

  it("that are refused or repeated count too (H21)", async () => {
    const space = await makeRoomySpace();
    const from = { "cf-connecting-ip": "192.0.2.9" };
    const jobs = jobsOf(1_000).map(() => ({ input: {}, idempotency_key: "one" }));
    const path = `/api/spaces/${space.name}/jobs/batch`;
    await expectStatus(202, await call("POST", path, { jobs }, from));
    await expectStatus(429, await call("POST", path, { jobs }, from));
    const other = { "cf-connecting-ip": "192.0.2.10" };
    const malformed = [...jobsOf(1), ...Array.from({ length: 999 }, () => ({ input: 7 }))];
    await expectStatus(202, await call("POST", path, { jobs: malformed }, other));
    await expectStatus(429, await call("POST", path, { jobs: malformed }, other));
  });

  it("count for the user and for the key of those who say who they are, not for their address (H21b)", async () => {
    const space = await makeRoomySpace();
    const member = await makeMember();
    const key = withKey(await makeKey(member, { scopes: ["jobs:read", "jobs:write"] }));
    const session = { cookie: member.cookie, ...OWN_PAGE };
    const jobs = { jobs: jobsOf(1_000) };
    const path = `/api/spaces/${space.name}/jobs/batch`;
    const address = "192.0.2.20";
    for (const headers of [session, key, {}]) {
      const mine = () =>
        "cookie" in headers
          ? callAs({ ...member, address }, "POST", path, jobs)
          : batch(space, 1_000, address, headers);
      await expectStatus(202, await mine());
      const refused = await expectStatus(429, await mine());
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    // Over a socket, from anywhere, it is the same key.
    const socket = await dial(space, "192.0.2.21", key);
    for (let ref = 0; ref < 300; ref += 1) socket.send({ type: "submit", ref, input: {} });
    const refused = await socket.next((frame) => frame.code === "rate_limited");
    expect(refused.message).toContain("Too many jobs with this key");
  });
});
