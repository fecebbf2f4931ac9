import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  getJob,
  makeSpace,
  submit,
  TestSocket,
} from "./support.ts";

/** The size of a piece of output of which four fit in a job's log. */
const QUARTER = Math.floor(LIMITS.jobLogBytes / 4) - 200;

/** Starts a job and streams pieces of these sizes as its output; the pieces are the letters a, b, c …. */
async function streamPieces(sizes: number[], input: object = {}) {
  const space = await makeSpace({ offline: "queue", cache_ttl_s: 60 });
  const { socket: worker } = await connectWorker(space);
  const { id: job_id } = await submit(space.name, { input });
  await worker.next("job");
  const sendAsWorker = (type: string, more: object) =>
    worker.send({ type, job_id, attempt: 1, ...more });
  const live = await TestSocket.open(`/ws/${job_id}`);
  for (const [index, size] of sizes.entries()) {
    sendAsWorker("output", { delta: String.fromCharCode(97 + index).repeat(size) });
    // One by one, so that the log can drop each of them separately.
    await live.next("output");
  }
  return { space, worker, job_id, sendAsWorker, live };
}

function offsetsBetween(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** Returns the letters of the pieces in `frames`. */
function piecesOf(frames: Frame[]): string {
  const pieces = frames.filter(({ type }) => type === "output");
  return pieces.map(({ delta }) => String(delta)[0]).join("");
}

describe("a job whose log was trimmed", () => {
  it("sends a late follower the gap before the pieces that are left (C11a)", async () => {
    const { job_id } = await streamPieces(Array(6).fill(QUARTER));
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    const frames = await viewer.until("progress");
    expect(frames.slice(0, 2)).toMatchObject([
      { type: "connection", recovered: false, offset: 8 },
      { type: "gap", job_id, offset: 4, timestamp: expect.stringMatching(/^\d{4}-.*Z$/) },
    ]);
    expect(piecesOf(frames)).toBe("cdef");
    expect(frames[2]).toMatchObject({ type: "output", offset: 5 });
  });

  it("sends the gap on the socket of its space too (C11a)", async () => {
    const { space, job_id } = await streamPieces(Array(5).fill(QUARTER));
    const viewer = await TestSocket.open(`/api/spaces/${space.name}/ws`);
    viewer.send({ type: "follow", job_id });
    const frames = (await viewer.until("progress")).filter((frame) => frame.job_id === job_id);
    expect(frames.map(({ type }) => type).slice(0, 3)).toEqual(["connection", "gap", "output"]);
    expect(frames[1]).toMatchObject({ job_id, offset: 3 });
    expect(piecesOf(frames)).toBe("bcde");
  });

  it("sends the gap in a stream of events, without an id (C12a)", async () => {
    const { job_id, sendAsWorker } = await streamPieces(Array(5).fill(QUARTER));
    sendAsWorker("result", { output: null });
    const answer = await expectStatus(200, await call("GET", `/api/jobs/${job_id}/events`));
    const blocks = (await answer.text()).split("\n\n");
    const gap = blocks.findIndex((block) => block.includes("event: gap"));
    expect(blocks[gap]).not.toContain("id: ");
    expect(JSON.parse(blocks[gap]?.split("data: ")[1] ?? "")).toMatchObject({ job_id, offset: 3 });
    expect(blocks[gap - 1]).toContain("event: connection");
    expect(blocks[gap + 1]).toContain("event: output");
  });

  it("sends no gap to a follower that had every dropped piece already (C9, C11a)", async () => {
    const { job_id, live } = await streamPieces(Array(6).fill(QUARTER));
    const { epoch } = await (await TestSocket.open(`/ws/${job_id}`)).next("connection");
    for (const [seen, recovered] of [
      [3, false],
      [4, true],
      [7, true],
    ] as const) {
      const again = await TestSocket.open(`/ws/${job_id}?since=${epoch}:${seen}`);
      again.send("{");
      const frames = await again.until("error");
      expect(frames[0]).toMatchObject({ type: "connection", recovered });
      expect(frames.some(({ type }) => type === "gap")).toBe(!recovered);
    }
    live.send("{");
    expect((await live.until("error")).map(({ type }) => type)).toEqual(["error"]);
  });

  it("has `output_truncated` while it runs and after its end (C11b, H8a)", async () => {
    const { job_id, sendAsWorker } = await streamPieces(Array(5).fill(QUARTER));
    const running = await getJob(job_id);
    expect(running).toMatchObject({ status: "processing", output_truncated: true });
    expect(String(running.output)).toMatch(/^b/);
    sendAsWorker("fail", { code: "oom", message: "out of memory" });
    const ended = await TestSocket.open(`/ws/${job_id}`);
    expect((await ended.until((frame) => frame.status === "failed"))[1]?.type).toBe("gap");
    expect(await getJob(job_id)).toMatchObject({ status: "failed", output_truncated: true });
  });

  it("has its whole output again once another attempt streams (C11b)", async () => {
    const { worker, job_id, sendAsWorker, live } = await streamPieces(Array(5).fill(QUARTER));
    sendAsWorker("fail", { code: "oom", message: "out of memory", retryable: true });
    await worker.next("job");
    worker.send({ type: "output", job_id, attempt: 2, delta: "again" });
    await live.next("output");
    expect(await getJob(job_id)).toMatchObject({ output: "again", output_truncated: false });
  });

  it("is not reused for a later submit of the same input (H11b)", async () => {
    const { space, worker, sendAsWorker, live } = await streamPieces(Array(5).fill(QUARTER), {
      n: 1,
    });
    sendAsWorker("result", { output: "done" });
    await live.next((frame) => frame.status === "completed");
    const { id } = await submit(space.name, { input: { n: 1 } });
    expect(await worker.next("job")).toMatchObject({ job_id: id });
  });
});

describe("a job whose log was not trimmed", () => {
  it("sends no gap, however many pieces it has (C11a)", async () => {
    const { job_id } = await streamPieces([QUARTER, 0, 5, QUARTER]);
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    const frames = await viewer.until("progress");
    expect(frames.map(({ type }) => type)).toEqual([
      "connection",
      // Neighbours are joined, as long as they are short.
      ...Array(3).fill("output"),
      "progress",
    ]);
    expect(frames[2]).toMatchObject({ delta: "c".repeat(5), from: 4, offset: 5 });
    expect(await getJob(job_id)).toMatchObject({ output_truncated: false });
  });
});

it("the gap and the pieces that a late follower gets make up the whole output, for pieces of any size (C11a)", async () => {
  const sizes = fc.array(fc.nat(Math.floor(LIMITS.jobLogBytes / 2)), {
    minLength: 1,
    maxLength: 8,
  });
  const anySizes = fc.asyncProperty(sizes, async (lengths) => {
    const { job_id } = await streamPieces(lengths);
    const viewer = await TestSocket.open(`/ws/${job_id}`);
    const frames = await viewer.until("progress");
    const droppedUpTo = Number(frames.find(({ type }) => type === "gap")?.offset ?? 2);
    const sent = frames
      .filter(({ type }) => type === "output")
      .flatMap(({ from, offset }) => offsetsBetween(Number(from ?? offset), Number(offset)));
    // Offsets 1 and 2 are changes of status, which are kept.
    expect(sent).toEqual(
      Array.from({ length: lengths.length + 2 - droppedUpTo }, (_, i) => droppedUpTo + 1 + i),
    );
    expect(await getJob(job_id)).toMatchObject({ output_truncated: droppedUpTo > 2 });
  });
  await fc.assert(anySizes, { numRuns: 10 });
});
