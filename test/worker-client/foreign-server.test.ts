import { LLMock } from "@copilotkit/aimock";
import { expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import type { WorkerFrame } from "../../src/protocol/worker-frames.ts";
import { openAiAdapter } from "../../worker-client/adapters/openai/openai.ts";
import { startEdge, startWorker } from "./start.ts";

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The frames of a job on a server with OpenAI's API that was written elsewhere. */
async function framesOf(input: JsonObject, prepare: (server: LLMock) => void) {
  const server = new LLMock({ port: 0, chunkSize: 8, logLevel: "silent" });
  prepare(server);
  const address = await server.start();
  const adapter = openAiAdapter({ baseUrl: new URL(`${address}/v1`), log: SILENT });
  const edge = await startEdge();
  onTestFinished(async () => {
    await adapter.close();
    await server.stop();
  });
  await adapter.model?.untilReady(new AbortController().signal);
  startWorker(edge, { handler: adapter.handle });
  const connection = await edge.connection();
  await connection.welcome();
  await connection.dispatch({ input });
  const frames: WorkerFrame[] = [];
  do frames.push(await connection.any());
  while (frames.at(-1)?.type === "output");
  return { frames, end: frames.at(-1) };
}

test("a foreign server's text is streamed in pieces", async () => {
  const { frames, end } = await framesOf({ prompt: "hello" }, (server) => {
    server.onMessage("hello", { content: "Hello from somewhere else." });
  });
  expect(frames.length).toBeGreaterThan(3);
  const text = frames.map((frame) => (frame.type === "output" ? frame.delta : "")).join("");
  expect(text).toBe("Hello from somewhere else.");
  expect(end).toMatchObject({ output: { text, finish_reason: "stop" } });
});

test("a foreign server's tool calls and reasoning are in the result", async () => {
  const messages = [{ role: "user", content: "weather?" }];
  const { end } = await framesOf({ messages }, (server) => {
    const call = { name: "get_weather", arguments: '{"city":"Rome"}' };
    server.onMessage("weather", { toolCalls: [call], reasoning: "They ask for weather." });
  });
  expect(end).toMatchObject({
    output: {
      reasoning: "They ask for weather.",
      finish_reason: "tool_calls",
      tool_calls: [{ function: { name: "get_weather", arguments: '{"city":"Rome"}' } }],
    },
  });
});

test("a foreign server's embeddings are the result, its refusals are words", async () => {
  const embedded = await framesOf({ input: "text" }, () => {});
  expect(embedded.end).toMatchObject({ output: { object: "list", data: [{ index: 0 }] } });
  const refused = await framesOf({ prompt: "nobody expects this" }, () => {});
  expect(refused.end).toMatchObject({
    type: "fail",
    message: "The model's server refused this: No fixture matched",
  });
});
