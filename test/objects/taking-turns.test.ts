import { describe, expect, it } from "vitest";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  OPERATOR,
  problemOf,
} from "./support.ts";

/** A visitor with a network address of its own. */
function visitor(address: string) {
  return { "cf-connecting-ip": address };
}

const ANN = visitor("192.0.2.1");
const BEN = visitor("192.0.2.2");

async function submit(space: string, as: Record<string, string>, body: object = { input: {} }) {
  const response = await call("POST", `/api/spaces/${space}/jobs`, body, as);
  await expectStatus(202, response);
  return (await response.json<{ id: string; queue_position: number | null }>()) ?? null;
}

async function submitMany(space: string, count: number, as: Record<string, string>) {
  const jobs = Array.from({ length: count }, (_, n) => ({ input: { n } }));
  const response = await call("POST", `/api/spaces/${space}/jobs/batch`, { jobs }, as);
  await expectStatus(202, response);
  const answer = await response.json<{ jobs: { job: { id: string } }[] }>();
  return answer.jobs.map(({ job }) => job.id);
}

function resultOf({ job_id, attempt }: Frame) {
  return { type: "result", job_id, attempt, output: null };
}

describe("a visitor who comes while another has 1,000 jobs waiting", () => {
  it("is next, although the queue is full (Q1, Q2a)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    await submitMany(space.name, 1_000, ANN);
    const running = await worker.next("job");
    await submit(space.name, ANN);
    const { id, queue_position } = await submit(space.name, BEN);
    expect(queue_position).toBe(1);
    const again = call("POST", `/api/spaces/${space.name}/jobs`, { input: {} }, BEN);
    expect(await problemOf(429, again)).toMatchObject({ code: "queue_full" });
    worker.send(resultOf(running));
    expect((await worker.next("job")).job_id).toBe(id);
  });

  it("has its turn with each of its jobs (Q1)", async () => {
    const space = await makeSpace({ max_queue: 2_000 });
    const { socket: worker } = await connectWorker(space);
    const ofAnn = await submitMany(space.name, 1_000, ANN);
    const running = await worker.next("job");
    expect(running.job_id).toBe(ofAnn[0]);
    const first = await submit(space.name, BEN);
    const second = await submit(space.name, BEN);
    expect([first.queue_position, second.queue_position]).toEqual([1, 3]);
    const order: unknown[] = [];
    for (let frame = running; order.length < 4; ) {
      worker.send(resultOf(frame));
      frame = await worker.next("job");
      order.push(frame.job_id);
    }
    expect(order).toEqual([first.id, ofAnn[1], second.id, ofAnn[2]]);
  });

  it("has its job run although the other may have no more running (Q3)", async () => {
    const space = await makeSpace({ max_running_per_user: 1 });
    const { socket: worker } = await connectWorker(space, { concurrency: 2 });
    const ofAnn = await submitMany(space.name, 1_000, ANN);
    const running = await worker.next("job");
    const { id } = await submit(space.name, BEN);
    expect((await worker.next("job")).job_id).toBe(id);
    const next = await call("GET", `/api/jobs/${ofAnn[1]}`, undefined, ANN);
    const { message } = await next.json<{ message: string }>();
    expect(message).toContain("max_running_per_user");
    worker.send(resultOf(running));
    expect((await worker.next("job")).job_id).toBe(ofAnn[1]);
  });
});

describe("the bounds for one user", () => {
  it("refuse its submits in words, and are settings of the space (Q2, Q4)", async () => {
    const space = await makeSpace({ offline: "queue", max_queued_per_user: 1 });
    const path = `/api/spaces/${space.name}`;
    await submit(space.name, ANN);
    const full = call("POST", `${path}/jobs`, { input: {} }, ANN);
    expect(await problemOf(429, full)).toMatchObject({
      code: "queue_full",
      detail: expect.stringContaining("max_queued_per_user"),
    });
    await submit(space.name, BEN);
    const patch = { max_queued_per_user: null, max_priority_anonymous: 0 };
    await expectStatus(200, await call("PATCH", path, patch, OPERATOR));
    await submit(space.name, ANN);
    const urgent = { input: {}, priority: 1 };
    expect(await problemOf(403, call("POST", `${path}/jobs`, urgent, ANN))).toMatchObject({
      code: "not_allowed",
      detail: expect.stringContaining("max_priority_anonymous"),
    });
    expect(await submit(space.name, OPERATOR, urgent)).toMatchObject({ queue_position: 1 });
    const wrong = call("PATCH", path, { max_running_per_user: 0 }, OPERATOR);
    expect(await problemOf(422, wrong)).toMatchObject({ code: "invalid_request" });
  });
});
