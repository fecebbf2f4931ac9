import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { demoAdapter } from "../../worker-client/adapters/demo.ts";
import { type EdgeConnection, type FakeEdge, JOB_ID } from "../support/fake-edge.ts";
import { startEdge, startWorker } from "./start.ts";

const WORDS = readFileSync(join(import.meta.dirname, "../support/words.png"));
const IMAGE = { field: "image", content_type: "image/png" };

async function serveDemo(): Promise<{ edge: FakeEdge; connection: EdgeConnection }> {
  const edge = await startEdge();
  const adapter = demoAdapter({ paceMs: 1 });
  onTestFinished(() => adapter.close());
  startWorker(edge, { handler: adapter.handle });
  const connection = await edge.connection();
  await connection.welcome();
  return { edge, connection };
}

describe("a prompt", () => {
  test("is analysed sentence by sentence, each streamed with its progress", async () => {
    const { connection } = await serveDemo();
    const prompt = "I love this wonderful library. It cost $30 on 3 May 2021. The rain is awful.";
    await connection.dispatch({ input: { prompt } });
    const frames = await connection.until("result");
    const text = frames.map((frame) => (frame.type === "output" ? frame.delta : "")).join("");
    expect(text).toContain("1. I love this wonderful library.\n");
    expect(text).toContain("love/VERB");
    expect(text).toContain("entities: $30 (MONEY), 3 May 2021 (DATE)");
    expect(text).toMatch(/sentiment: positive .*\n2\./);
    const messages = frames.map((frame) => (frame.type === "progress" ? frame.message : null));
    expect(messages.filter((message) => message?.startsWith("Sentence"))).toEqual([
      "Sentence 1 of 3",
      "Sentence 2 of 3",
      "Sentence 3 of 3",
    ]);
    expect(frames.at(-1)).toMatchObject({
      output: {
        text: expect.stringMatching(/^3 sentences, 20 words, (positive|neutral|negative) /),
        sentences: 3,
        tokens: 20,
        entities: [
          { value: "$30", type: "MONEY" },
          { value: "3 May 2021", type: "DATE" },
        ],
        sentiment: expect.any(Number),
      },
    });
  });

  test("one sentence is counted as one", async () => {
    const { connection } = await serveDemo();
    await connection.dispatch({ input: { prompt: "Hello there" } });
    const text = expect.stringMatching(/^1 sentence, 2 words, /);
    expect((await connection.until("result")).at(-1)).toMatchObject({ output: { text } });
  });

  test("that is canceled stops between two sentences", async () => {
    const { connection } = await serveDemo();
    await connection.dispatch({ input: { prompt: "It goes on. ".repeat(4_000) } });
    await connection.until("output");
    connection.send({ type: "cancel", job_id: JOB_ID, attempt: 1, reason: "asked" });
    const frames = await connection.until("fail");
    expect(frames.at(-1)).toMatchObject({ code: "canceled" });
  });

  test("that is missing fails the job with a message that asks for one", async () => {
    const { connection } = await serveDemo();
    await connection.dispatch({ input: {} });
    expect((await connection.next("fail")).message).toContain("a prompt or reads an image");
  });
});

describe("an image", () => {
  test("is read", async () => {
    const { edge, connection } = await serveDemo();
    await connection.dispatch({ input: {}, files: [edge.serve("words.png", WORDS, IMAGE)] });
    const frames = await connection.until("result");
    const text = "Remote workers dial out\nand serve a space\n";
    expect(frames).toContainEqual(expect.objectContaining({ type: "output", delta: text }));
    expect(frames.at(-1)).toMatchObject({ output: { text, words: 8 } });
    expect(frames.some((f) => f.type === "progress" && f.message === "Recognising text")).toBe(
      true,
    );
  }, 30_000);

  test.each([
    ["of no format", Buffer.from("hello")],
    ["cut off", WORDS.subarray(0, 2_000)],
    ["empty", Buffer.alloc(0)],
    ["that lies about its format", Buffer.from("BM and then nothing of a bitmap")],
  ])(
    "%s fails its job, and the next one is read",
    async (_, content) => {
      const { edge, connection } = await serveDemo();
      await connection.dispatch({ input: {}, files: [edge.serve("broken.png", content, IMAGE)] });
      const failed = await connection.until("fail");
      expect(failed.at(-1)).toMatchObject({
        code: "worker_error",
        message: expect.stringContaining('No text could be read from "broken.png" (image/png)'),
      });
      const files = [edge.serve("words.png", WORDS, IMAGE)];
      await connection.dispatch({ attempt: 2, input: {}, files });
      expect((await connection.until("result")).at(-1)).toMatchObject({ output: { words: 8 } });
    },
    30_000,
  );

  test("that is no image is refused", async () => {
    const { edge, connection } = await serveDemo();
    const file = edge.serve("song.mp3", Buffer.from("la"), { content_type: "audio/mpeg" });
    await connection.dispatch({ input: {}, files: [file] });
    expect((await connection.next("fail")).message).toContain("it got audio/mpeg");
  });
});
