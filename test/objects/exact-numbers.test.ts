import { exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { parseExact } from "../../src/protocol/exact-json.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  nextJobId,
  OPERATOR,
  TestSocket,
} from "./support.ts";

/** A value that JavaScript's numbers can't keep. */
const EXACT =
  '{"seed":18446744073709551615,"big":1e400,"float":1.0,"zero":-0,"__proto__":{"n":0.10}}';
const VALUE = parseExact(EXACT);

function textOf(value: unknown): string {
  return JSON.stringify(value);
}

async function bodyOf(response: Promise<Response>, status = 200): Promise<Frame> {
  const answer = await expectStatus(status, await response);
  return parseExact(await answer.text()) as unknown as Frame;
}

describe("numbers that JavaScript can't keep", () => {
  it("arrive exactly at the worker and at everyone who reads the job (H18)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const jobs = `/api/spaces/${space.name}/jobs`;
    const { id } = await bodyOf(call("POST", jobs, `{"input":${EXACT}}`), 202);
    const follower = await TestSocket.open(`/ws/${id}`);
    expect(textOf((await worker.next("job")).input)).toBe(EXACT);
    const ref = `"job_id":"${id}","attempt":1`;
    worker.send(`{"type":"progress",${ref},"progress":50.0}`);
    worker.send(`{"type":"output",${ref},"delta":${EXACT}}`);
    worker.send(`{"type":"result",${ref},"output":${EXACT},"metrics":${EXACT}}`);
    expect((await follower.next((frame) => frame.progress === 50)).status).toBe("processing");
    expect(textOf((await follower.next("output")).delta)).toBe(EXACT);
    expect(textOf((await follower.next((frame) => "result" in frame)).result)).toBe(EXACT);
    const job = await bodyOf(call("GET", `/api/jobs/${id}`));
    for (const field of ["input", "result", "metrics"]) expect(textOf(job[field])).toBe(EXACT);
    expect(textOf(job.output)).toBe(`[${EXACT}]`);
    const late = await TestSocket.open(`/ws/${id}`);
    expect(textOf((await late.next("output")).delta)).toBe(EXACT);
  });

  it("arrive exactly by batch, form and socket (H18)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space, { concurrency: 10 });
    await bodyOf(
      call("POST", `/api/spaces/${space.name}/jobs/batch`, `{"jobs":[{"input":${EXACT}}]}`),
      202,
    );
    expect(textOf((await worker.next("job")).input)).toBe(EXACT);
    const form = new FormData();
    form.set("input", EXACT);
    const address = `https://edge.test/api/spaces/${space.name}/jobs`;
    await expectStatus(202, await exports.default.fetch(address, { method: "POST", body: form }));
    expect(textOf((await worker.next("job")).input)).toBe(EXACT);
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    socket.send(`{"type":"submit","ref":18446744073709551615,"input":${EXACT}}`);
    expect(textOf((await worker.next("job")).input)).toBe(EXACT);
    expect(textOf((await socket.next("accepted")).ref)).toBe("18446744073709551615");
  });

  it("arrive exactly over a gateway that follows the job, and in the list of jobs (H18)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const { socket: worker } = await connectWorker(space);
    const jobs = `/api/spaces/${space.name}/jobs`;
    const { id } = await bodyOf(call("POST", jobs, `{"input":${EXACT}}`), 202);
    const gateway = await TestSocket.open("/ws", OPERATOR);
    gateway.send({ type: "subscribe", room: `job:${id}` });
    await gateway.next("subscribed");
    worker.send(`{"type":"result","job_id":"${id}","attempt":1,"output":${EXACT}}`);
    expect(textOf((await gateway.next((frame) => "result" in frame)).result)).toBe(EXACT);
    const list = await bodyOf(call("GET", jobs, undefined, OPERATOR));
    expect(textOf((list.jobs as { result: unknown }[])[0]?.result)).toBe(EXACT);
  });

  it("match a filter as the numbers that they are nearest to (R7)", async () => {
    const room = `project:${crypto.randomUUID()}`;
    const gateway = await TestSocket.open("/ws", OPERATOR);
    gateway.send(
      `{"type":"subscribe","room":"${room}","filter":{"where":{"result":1.0,"data.n":[2.50]}}}`,
    );
    await gateway.next("subscribed");
    for (const data of ['{"result":2}', '{"result":1.00,"data":{"n":2.5}}']) {
      const event = `{"type":"a.b","data":${data}}`;
      await bodyOf(call("POST", `/api/rooms/${room}/events`, event, OPERATOR), 201);
    }
    expect(textOf((await gateway.next("a.b")).data)).toBe('{"result":1.00,"data":{"n":2.5}}');
  });

  it("make two submits differ if only their last digits do (H10, H18)", async () => {
    const space = await makeSpace({ offline: "queue", cache_ttl_s: 60 });
    const { socket: worker } = await connectWorker(space);
    const submit = (seed: string, headers = {}) =>
      call("POST", `/api/spaces/${space.name}/jobs`, `{"input":{"seed":${seed}}}`, headers);
    const key = { "idempotency-key": "a" };
    await bodyOf(submit("18446744073709551615", key), 202);
    await bodyOf(submit("18446744073709551615", key), 202);
    await expectStatus(409, await submit("18446744073709551614", key));
    const id = await nextJobId(worker);
    worker.send({ type: "result", job_id: id, attempt: 1, output: "of …615" });
    await worker.next("ack");
    expect((await bodyOf(submit("18446744073709551615"), 202)).cached).toBe(true);
    expect((await bodyOf(submit("18446744073709551616"), 202)).cached).toBe(false);
  });

  it("arrive exactly in the events of rooms and in reports about jobs without a space (H18)", async () => {
    const room = `/api/rooms/project:${crypto.randomUUID()}`;
    const follower = await TestSocket.open(`${room}/ws`, OPERATOR);
    await follower.next("connection");
    const gateway = await TestSocket.open("/ws", OPERATOR);
    gateway.send({ type: "subscribe", room: room.split("/").at(-1) });
    await gateway.next("subscribed");
    const event = `{"type":"project.updated","data":{"project_id":18446744073709551615,"more":${EXACT}}}`;
    await bodyOf(call("POST", `${room}/events`, event, OPERATOR), 201);
    for (const socket of [follower, gateway]) {
      const { data } = await socket.next("project.updated");
      expect(textOf(data)).toBe(`{"project_id":18446744073709551615,"more":${EXACT}}`);
    }
    const { events } = await bodyOf(call("GET", `${room}/history`, undefined, OPERATOR));
    expect(textOf(events)).toContain(EXACT);
    const { id } = await bodyOf(call("POST", "/api/jobs", `{"input":${EXACT}}`, OPERATOR), 201);
    const report = `{"result":${EXACT},"metrics":${EXACT}}`;
    const over = await bodyOf(call("POST", `/api/jobs/${id}/complete`, report, OPERATOR));
    for (const field of ["input", "result", "metrics"]) expect(textOf(over[field])).toBe(EXACT);
    expect(over.result).toEqual(VALUE);
    const complete = (body: string) => call("POST", `/api/jobs/${id}/complete`, body, OPERATOR);
    await expectStatus(200, await complete(report));
    await expectStatus(409, await complete(report.replaceAll("615", "616")));
  });

  it("are the `ref` of a refused frame too (S6a, S8)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const socket = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    for (const ref of ["18446744073709551615", "-0"]) {
      socket.send(`{"type":"submit","ref":${ref},"input":1}`);
      expect(textOf((await socket.next("error")).ref)).toBe(ref);
    }
  });

  it("don't pass for what they are not: an input must be an object (H5)", async () => {
    const space = await makeSpace({ offline: "queue" });
    const jobs = `/api/spaces/${space.name}/jobs`;
    await expectStatus(422, await call("POST", jobs, '{"input":1.0}'));
    await expectStatus(422, await call("POST", jobs, '{"input":{},"priority":1e400}'));
  });
});
