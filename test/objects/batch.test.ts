import { afterEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { SpaceStore } from "../../src/storage/space-store.ts";
import {
  call,
  connectWorker,
  expectStatus,
  getJob,
  makeSpace,
  OPERATOR,
  problemOf,
  runSql,
  submit,
} from "./support.ts";

type BatchAnswer = {
  job?: { id: string; status: string };
  error?: { code: string; detail: string };
};

async function submitBatch(space: string, jobs: unknown[]): Promise<BatchAnswer[]> {
  const response = await call("POST", `/api/spaces/${space}/jobs/batch`, { jobs });
  await expectStatus(202, response);
  return (await response.json<{ jobs: BatchAnswer[] }>()).jobs;
}

describe("a batch of submits", () => {
  it("to a private space is refused to a stranger like a single submit, as a whole (H13b)", async () => {
    const space = await makeSpace({ visibility: "private", offline: "queue" });
    const path = `/api/spaces/${space.name}/jobs`;
    const single = await call("POST", path, { input: {} });
    for (const jobs of [[{ input: {} }, { input: {} }], [{ input: {} }, 7], [7]]) {
      const batch = await call("POST", `${path}/batch`, { jobs });
      expect(batch.status).toBe(single.status);
      expect(await batch.json()).toMatchObject({ code: "not_authenticated" });
    }
    const allowed = await call("POST", `${path}/batch`, { jobs: [{ input: {} }] }, OPERATOR);
    expect(allowed.status).toBe(202);
  });

  it("is answered in order, and its jobs run in that order (H13)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const answers = await submitBatch(
      space.name,
      Array.from({ length: 20 }, (_, n) => ({ input: { n } })),
    );
    for (const [n, { job }] of answers.entries()) {
      const frame = await worker.next("job");
      expect(frame).toMatchObject({ job_id: job?.id, input: { n } });
      worker.send({ type: "result", job_id: frame.job_id, attempt: 1, output: n });
    }
  });

  it("has an error for each wrong job, and accepts the others (H13, H13a)", async () => {
    const space = await makeSpace({ offline: "queue", enable_prompt: false, max_queue: 2 });
    const answers = await submitBatch(space.name, [
      { input: {} },
      { input: "text" },
      { input: { prompt: "hi" } },
      7,
      { input: {}, idempotency_key: "k" },
      { input: {}, idempotency_key: "k" },
      { input: {} },
    ]);
    expect(answers.map(({ job, error }) => job?.status ?? error?.code)).toEqual([
      "queued",
      "invalid_request",
      "prompt_not_enabled",
      "invalid_request",
      "queued",
      "queued",
      "queue_full",
    ]);
    expect(answers[5]?.job?.id).toBe(answers[4]?.job?.id);
  });

  it("is refused as a whole if it is malformed, empty or too long (H13)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const post = (body: unknown) => call("POST", `/api/spaces/${space.name}/jobs/batch`, body);
    await problemOf(422, post({ jobs: [] }));
    await problemOf(422, post([]));
    await problemOf(422, post({ jobs: new Array(LIMITS.batchJobs + 1).fill({ input: {} }) }));
    await problemOf(404, call("POST", "/api/spaces/none/jobs/batch", { jobs: [{ input: {} }] }));
  });
});

describe("a turn whose last write fails", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("is not stored at all, sends nothing, and the object starts again from its rows", async () => {
    const space = await makeSpace({ max_workers: 2 });
    const { socket: worker } = await connectWorker(space);
    const { id } = await submit(space.name);
    await worker.next("job");
    const { id: later } = await submit(space.name);
    // The last write of a turn in which a job ends.
    const countEnds = vi.spyOn(SpaceStore.prototype, "countEnds").mockImplementationOnce(() => {
      throw new Error("the disk is full");
    });
    const result = { type: "result", job_id: id, attempt: 1, output: "done" };
    worker.send(result);
    await worker.closed;
    expect(countEnds).toHaveBeenCalledOnce();
    expect(worker.unread).toEqual([]);
    expect(await runSql(space, "SELECT status, result FROM jobs ORDER BY ulid")).toEqual([
      { status: "processing", result: null },
      { status: "queued", result: null },
    ]);
    const resume = [{ job_id: id, attempt: 1 }];
    const { socket: again, registered } = await connectWorker(space, { resume });
    expect(registered).toMatchObject({ resumed: resume });
    again.send(result);
    await again.next("ack");
    expect(await again.next("job")).toMatchObject({ job_id: later, attempt: 1 });
    expect(await getJob(id)).toMatchObject({ status: "completed", result: "done", attempt: 1 });
  });
});
