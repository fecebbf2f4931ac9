import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  call,
  connectWorker,
  expectStatus,
  OPERATOR,
  objectOf,
  submit,
  TestSocket,
} from "./support.ts";

/** The platform's counter: lets `allowed` submits of each address pass, and answers when it is told to. */
class Counter {
  readonly asked: string[] = [];
  private readonly allowed: number;
  isHolding = false;
  isBroken = false;

  constructor(allowed: number) {
    this.allowed = allowed;
  }

  async limit({ key }: { key: string }): Promise<{ success: boolean }> {
    const turn = this.asked.push(key);
    const count = this.asked.filter((other) => other === key).length;
    if (this.isBroken) throw new Error("no answer");
    // Held back by looking again, because nothing of another object may settle a promise of this one.
    if (this.isHolding) {
      while (this.isHolding) await scheduler.wait(1);
      // The newest question is answered first.
      for (let newer = turn; newer < this.asked.length; newer += 1) await scheduler.wait(2);
    }
    return { success: count <= this.allowed };
  }
}

let made = 0;

/** A space on an edge that counts submits. */
async function countedSpace(counter: Counter | RateLimit) {
  made += 1;
  const name = `rate-${made}-${crypto.randomUUID().slice(0, 8)}`;
  await runInDurableObject(objectOf({ name }), (object) => {
    const given = Reflect.get(object, "env");
    Reflect.set(object, "env", { ...given, LOCAL: "false", SUBMITS: counter });
  });
  const body = { name, offline: "queue" };
  await expectStatus(201, await call("POST", "/api/spaces", body, OPERATOR));
  const minted = await call("POST", `/api/spaces/${name}/tokens`, { name: "test" }, OPERATOR);
  const { token } = await minted.json<{ token: string }>();
  return { name, token };
}

function dial(space: { name: string }, address: string, headers: Record<string, string> = {}) {
  const from = { "cf-connecting-ip": address, ...headers };
  return TestSocket.open(`/api/spaces/${space.name}/ws`, from);
}

describe("submits over the socket of a space", () => {
  it("beyond what their address may send are refused with their ref, and make no job", async () => {
    const counter = new Counter(2);
    const space = await countedSpace(counter);
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

  it("count for their address, whichever socket they come over, and for no other", async () => {
    const counter = new Counter(1);
    const space = await countedSpace(counter);
    const one = await dial(space, "192.0.2.1");
    one.send({ type: "submit", ref: 1, input: {} });
    await one.next("accepted");
    const again = await dial(space, "192.0.2.1");
    again.send({ type: "submit", ref: 2, input: {} });
    expect(await again.next((frame) => frame.ref === 2)).toMatchObject({ code: "rate_limited" });
    const other = await dial(space, "2001:db8::1");
    other.send({ type: "submit", ref: 3, input: {} });
    expect(await other.next((frame) => frame.ref === 3)).toMatchObject({ type: "accepted" });
    expect(counter.asked).toEqual(["192.0.2.1", "192.0.2.1", "2001:db8::1"]);
  });

  it("of the operator, and frames that submit nothing, are not counted", async () => {
    const counter = new Counter(0);
    const space = await countedSpace(counter);
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
    expect(counter.asked).toEqual([]);
  });

  it("are handled in their order, and the frames after them, in whatever order they are let pass", async () => {
    const counter = new Counter(99);
    const space = await countedSpace(counter);
    const { id } = await submit(space.name);
    const socket = await dial(space, "192.0.2.1");
    await socket.next("space.status");
    counter.isHolding = true;
    const refs = [1, 2, 3, 4, 5];
    for (const ref of refs) socket.send({ type: "submit", ref, input: { n: ref } });
    socket.send({ type: "cancel", job_id: `${space.name}.${"0".repeat(26)}`, ref: 6 });
    await expect.poll(() => counter.asked.length).toBe(refs.length);
    // Other sockets are not held up.
    const viewer = await TestSocket.open(`/ws/${id}`);
    viewer.send({ type: "cancel" });
    await viewer.next((frame) => frame.status === "canceled");
    counter.isHolding = false;
    const frames = await socket.until((frame) => frame.ref === 6);
    const answers = frames.filter(({ ref }) => ref !== undefined);
    expect(answers.map(({ ref }) => ref)).toEqual([...refs, 6]);
    const { socket: worker } = await connectWorker(space, { concurrency: 9 });
    const inputs: unknown[] = [];
    for (const _ of refs) inputs.push((await worker.next("job")).input);
    expect(inputs).toEqual(refs.map((n) => ({ n })));
  });

  it("are taken although their socket closes before the counter answers", async () => {
    const counter = new Counter(99);
    const space = await countedSpace(counter);
    counter.isHolding = true;
    const leaving = await dial(space, "192.0.2.1");
    leaving.send({ type: "submit", ref: 1, input: { n: 1 } });
    const cancel_on_disconnect = true;
    leaving.send({ type: "submit", ref: 2, input: { n: 2 }, cancel_on_disconnect });
    await expect.poll(() => counter.asked.length).toBe(2);
    leaving.close();
    counter.isHolding = false;
    const canceled = async () => {
      const path = `/api/spaces/${space.name}/jobs?status=canceled`;
      return (await call("GET", path, undefined, OPERATOR)).json();
    };
    await expect.poll(canceled).toMatchObject({ jobs: [{ input: { n: 2 } }] });
    const { socket: worker } = await connectWorker(space);
    expect(await worker.next("job")).toMatchObject({ input: { n: 1 } });
  });

  it("that wait for the counter while the space is deleted are gone with it", async () => {
    const counter = new Counter(99);
    const space = await countedSpace(counter);
    counter.isHolding = true;
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    await expect.poll(() => counter.asked.length).toBe(1);
    await expectStatus(204, await call("DELETE", `/api/spaces/${space.name}`, undefined, OPERATOR));
    counter.isHolding = false;
    expect((await socket.closed).code).toBe(4404);
    await expectStatus(404, await call("GET", `/api/spaces/${space.name}`));
  });

  it("are counted by the platform's own counter", async () => {
    const space = await countedSpace(env.SUBMITS);
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    expect(await socket.next((frame) => frame.ref === 1)).toMatchObject({ type: "accepted" });
  });

  it("pass where the counter fails", async () => {
    const counter = new Counter(0);
    const space = await countedSpace(counter);
    counter.isBroken = true;
    const socket = await dial(space, "192.0.2.1");
    socket.send({ type: "submit", ref: 1, input: {} });
    expect(await socket.next((frame) => frame.ref === 1)).toMatchObject({ type: "accepted" });
  });
});
