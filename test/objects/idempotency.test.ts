import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  call,
  connectWorker,
  expectStatus,
  getJob,
  makeSpace,
  type NamedSpace,
  objectOf,
  problemOf,
  runSql,
  TestSocket,
} from "./support.ts";

const REPLAYED = "idempotency-replayed";
const REUSED = { code: "idempotency_key_reused" };

function makeQueue() {
  return makeSpace({ offline: "queue", enable_file_upload: true });
}

function post(space: NamedSpace, key: string, body: unknown = { input: { prompt: "hi" } }) {
  return call("POST", `/api/spaces/${space.name}/jobs`, body, { "idempotency-key": key });
}

/** Submits a form with one file and these fields. */
function upload(
  space: NamedSpace,
  key: string,
  content: string,
  fields: Record<string, string> = {},
) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("image", new File([content], "cat.png", { type: "image/png" }), "cat.png");
  const url = `https://edge.test/api/spaces/${space.name}/jobs`;
  const headers = { "idempotency-key": key };
  return exports.default.fetch(url, { method: "POST", body: form, headers });
}

/** Returns the job of an accepted submit, and whether the answer says that it is a repeat. */
async function acceptedOf(answer: Promise<Response>): Promise<{ id: string; isReplay: boolean }> {
  const response = await expectStatus(202, await answer);
  const { id } = await response.json<{ id: string }>();
  return { id, isReplay: response.headers.get(REPLAYED) === "true" };
}

async function jobsOf(space: NamedSpace): Promise<number> {
  return (await runSql(space, "SELECT ulid FROM jobs")).length;
}

async function filesOf(space: NamedSpace): Promise<string[]> {
  const { objects } = await env.FILES.list({ prefix: `spaces/${space.name}/` });
  return objects.map(({ key }) => key);
}

function spaceSocket(space: NamedSpace): Promise<TestSocket> {
  return TestSocket.open(`/api/spaces/${space.name}/ws`);
}

describe("a submit that is sent again with its key", () => {
  it("gets the same job, and its answer says so (H10, H10b)", async () => {
    const space = await makeQueue();
    const first = await acceptedOf(post(space, "k", { input: { a: 1, b: [2] }, priority: 5 }));
    const again = await acceptedOf(post(space, "k", { priority: 5, input: { b: [2], a: 1 } }));
    expect([first.isReplay, again]).toEqual([false, { id: first.id, isReplay: true }]);
    expect(await acceptedOf(post(space, "another"))).toMatchObject({ isReplay: false });
    expect(await jobsOf(space)).toBe(2);
  });

  it("makes one job even if all the submits come at once (H10)", async () => {
    const space = await makeQueue();
    const got = await Promise.all(Array.from({ length: 8 }, () => acceptedOf(post(space, "k"))));
    expect(new Set(got.map(({ id }) => id)).size).toBe(1);
    expect(got.filter(({ isReplay }) => !isReplay)).toHaveLength(1);
    expect(await jobsOf(space)).toBe(1);
  });

  it("is refused with another body, and the first job doesn't change (H10b)", async () => {
    const space = await makeQueue();
    const { id } = await acceptedOf(post(space, "k"));
    const others: unknown[] = [
      { input: { prompt: "ho" } },
      { input: { prompt: "hi" }, priority: 1 },
      { input: { prompt: "hi" }, requires: ["gpu"] },
      { input: { prompt: "hi" }, job_timeout_s: 5 },
    ];
    for (const other of others) {
      expect(await problemOf(409, post(space, "k", other))).toMatchObject(REUSED);
    }
    expect(await getJob(id)).toMatchObject({ status: "queued", input: { prompt: "hi" } });
    expect(await jobsOf(space)).toBe(1);
  });

  it("gets its job as it is now, even if a new one would be refused (H10)", async () => {
    const space = await makeSpace({ max_queue: 1 });
    const { socket: worker } = await connectWorker(space);
    const { id: job_id } = await acceptedOf(post(space, "k"));
    await worker.next("job");
    await acceptedOf(post(space, "fills the queue"));
    expect(await acceptedOf(post(space, "k"))).toEqual({ id: job_id, isReplay: true });
    worker.send({ type: "result", job_id, attempt: 1, output: "done" });
    await worker.next("ack");
    worker.close();
    await worker.closed;
    const again = await post(space, "k");
    expect(await again.json()).toMatchObject({ id: job_id, status: "completed", result: "done" });
  });

  it("makes another job in another space (H10)", async () => {
    const [space, other] = [await makeQueue(), await makeQueue()];
    await acceptedOf(post(space, "k"));
    expect(await acceptedOf(post(other, "k"))).toMatchObject({ isReplay: false });
  });

  it("gets the same job after the space's object was evicted from memory (H10)", async () => {
    const space = await makeQueue();
    const { id } = await acceptedOf(post(space, "k"));
    await evictDurableObject(objectOf(space));
    expect(await acceptedOf(post(space, "k"))).toEqual({ id, isReplay: true });
    expect(await problemOf(409, post(space, "k", { input: {} }))).toMatchObject(REUSED);
  });

  it("makes a new job once the first was erased (H10a)", async () => {
    const space = await makeQueue();
    const { id } = await acceptedOf(post(space, "k"));
    await call("POST", `/api/jobs/${id}/cancel`);
    expect(await acceptedOf(post(space, "k"))).toEqual({ id, isReplay: true });
    await runSql(space, "UPDATE jobs SET completed_at = completed_at - 86400000");
    await evictDurableObject(objectOf(space));
    expect(await runDurableObjectAlarm(objectOf(space))).toBe(true);
    const fresh = await acceptedOf(post(space, "k", { input: { other: true } }));
    expect(fresh.isReplay).toBe(false);
    expect(fresh.id).not.toBe(id);
  });
});

describe("an upload that is sent again with its key", () => {
  it("gets the same job, and leaves no second file behind (H10, H10b)", async () => {
    const space = await makeQueue();
    const first = await acceptedOf(upload(space, "k", "meow", { seed: "7" }));
    const files = await filesOf(space);
    expect(files).toHaveLength(1);
    const again = await acceptedOf(upload(space, "k", "meow", { seed: "7" }));
    expect(again).toEqual({ id: first.id, isReplay: true });
    expect(await filesOf(space)).toEqual(files);
  });

  it("is refused with another file or field, and leaves no second file behind (H10b)", async () => {
    const space = await makeQueue();
    await acceptedOf(upload(space, "k", "meow"));
    const files = await filesOf(space);
    expect(await problemOf(409, upload(space, "k", "woof"))).toMatchObject(REUSED);
    expect(await problemOf(409, upload(space, "k", "meow", { seed: "7" }))).toMatchObject(REUSED);
    expect(await problemOf(409, post(space, "k", { input: {} }))).toMatchObject(REUSED);
    expect(await filesOf(space)).toEqual(files);
  });
});

describe("a key in a submit over a socket", () => {
  const SUBMIT = { type: "submit", input: { prompt: "hi" }, idempotency_key: "k" };

  it("gets the same job as over another socket or HTTP, and the submitter follows it (S15, H10)", async () => {
    const space = await makeQueue();
    const first = await spaceSocket(space);
    first.send({ ...SUBMIT, ref: 1 });
    const { job_id, epoch } = await first.next("accepted");
    const second = await spaceSocket(space);
    second.send({ ...SUBMIT, ref: 2 });
    expect(await second.next("accepted")).toMatchObject({ ref: 2, job_id, epoch });
    expect(await acceptedOf(post(space, "k"))).toEqual({ id: job_id, isReplay: true });
    expect(await second.next("progress")).toMatchObject({ job_id, status: "queued" });
    await call("POST", `/api/jobs/${job_id}/cancel`);
    for (const socket of [first, second]) {
      expect(await socket.next(({ status }) => status === "canceled")).toMatchObject({ job_id });
    }
    expect(await jobsOf(space)).toBe(1);
  });

  it("gets the job that was submitted by HTTP (S15)", async () => {
    const space = await makeQueue();
    const { id } = await acceptedOf(post(space, "k"));
    const socket = await spaceSocket(space);
    socket.send({ ...SUBMIT, ref: 1 });
    expect(await socket.next("accepted")).toMatchObject({ ref: 1, job_id: id });
  });

  it("is refused with another body, and the error has its `ref` (H10b)", async () => {
    const space = await makeQueue();
    await acceptedOf(post(space, "k"));
    const socket = await spaceSocket(space);
    socket.send({ ...SUBMIT, ref: "mine", input: {} });
    expect(await socket.next("error")).toMatchObject({ ...REUSED, ref: "mine" });
    expect(await jobsOf(space)).toBe(1);
  });

  it("makes one job if it comes twice in one turn, and is accepted twice (S15)", async () => {
    const space = await makeQueue();
    const socket = await spaceSocket(space);
    for (const ref of [1, 2]) socket.send({ ...SUBMIT, ref });
    const [first, second] = [await socket.next("accepted"), await socket.next("accepted")];
    expect([first.ref, second.ref]).toEqual([1, 2]);
    expect(second.job_id).toBe(first.job_id);
    await call("POST", `/api/jobs/${first.job_id}/cancel`);
    await socket.next(({ status }) => status === "canceled");
    expect(await jobsOf(space)).toBe(1);
  });
});

describe("keys in a batch", () => {
  it("get the job of an earlier submit or of the same batch, or are refused one by one (H13, H13a, H10b)", async () => {
    const space = await makeQueue();
    const before = await acceptedOf(post(space, "old"));
    const hi = { input: { prompt: "hi" } };
    const jobs = [
      { ...hi, idempotency_key: "new" },
      { ...hi, idempotency_key: "old" },
      { ...hi, idempotency_key: "new" },
      { input: {}, idempotency_key: "new" },
      { input: {}, idempotency_key: "old" },
      hi,
    ];
    const answer = await call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
    await expectStatus(202, answer);
    const answers = (
      await answer.json<{ jobs: { job?: { id: string }; error?: { code: string } }[] }>()
    ).jobs;
    const [made, old, same, ...others] = answers;
    expect(old?.job?.id).toBe(before.id);
    expect(same?.job?.id).toBe(made?.job?.id);
    expect(others.map(({ error }) => error?.code)).toEqual([REUSED.code, REUSED.code, undefined]);
    expect(await acceptedOf(post(space, "new"))).toEqual({ id: made?.job?.id, isReplay: true });
    expect(await jobsOf(space)).toBe(3);
  });
});
