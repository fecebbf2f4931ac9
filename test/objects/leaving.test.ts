import { describe, expect, it } from "vitest";
import { call, connectWorker, expectStatus, getJob, makeSpace } from "./support.ts";

async function submitAsStream(space: string, body: object) {
  const response = await call("POST", `/api/spaces/${space}/jobs`, body, {
    accept: "text/event-stream",
  });
  await expectStatus(200, response);
  const id = response.headers.get("location")?.split("/").at(-1) ?? "";
  if (!response.body) throw new Error("there is no stream");
  return { id, body: response.body };
}

describe("a submit that is answered with the job's events", () => {
  it("gets them up to the end of the job (H12)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id, body } = await submitAsStream(space.name, { input: {} });
    worker.send({ type: "output", job_id: id, attempt: 1, delta: "a" });
    worker.send({ type: "result", job_id: id, attempt: 1, output: "b" });
    const text = await new Response(body).text();
    expect(text).toContain('"delta":"a"');
    expect(text).toContain('"result":"b"');
  });

  it("cancels the job when its client leaves before the end, if it asked for that, and not otherwise (H12a)", async () => {
    const space = await makeSpace({ concurrency: 2 });
    const { socket: worker } = await connectWorker(space, { concurrency: 2 });
    const leaving = { input: {}, cancel_on_disconnect: true };
    const canceled = await submitAsStream(space.name, leaving);
    const kept = await submitAsStream(space.name, { input: {} });
    await kept.body.cancel();
    await canceled.body.cancel();
    // The edge notices that a client has left when it writes the next event.
    for (const job_id of [kept.id, canceled.id]) {
      worker.send({ type: "output", job_id, attempt: 1, delta: "x" });
    }
    expect(await worker.next("cancel")).toMatchObject({ job_id: canceled.id });
    expect(await getJob(kept.id)).toMatchObject({ status: "processing" });
  });

  it("cancels nothing when its client leaves after the job's end", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space);
    const { id, body } = await submitAsStream(space.name, {
      input: {},
      cancel_on_disconnect: true,
    });
    worker.send({ type: "result", job_id: id, attempt: 1, output: 1 });
    await new Response(body).text();
    expect(await getJob(id)).toMatchObject({ status: "completed" });
  });
});
