import { describe, expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import type { Adapter } from "../../worker-client/adapters/adapter.ts";
import { type OpenAiOptions, openAiAdapter } from "../../worker-client/adapters/openai/openai.ts";
import { type EdgeConnection, type FakeEdge, JOB_ID } from "../support/fake-edge.ts";
import { FakeOpenAi } from "../support/fake-openai.ts";
import { freePort } from "../support/port.ts";
import { startEdge, startWorker } from "./start.ts";

const SIGNAL = new AbortController().signal;

interface Setup {
  server: FakeOpenAi;
  adapter: Adapter;
  logged: string[];
}

function adapterFor(server: FakeOpenAi, options: Partial<OpenAiOptions> = {}): Setup {
  const logged: string[] = [];
  const note = (line: string) => void logged.push(line);
  const log = { debug: note, info: note, warn: note, error: note };
  const times = { retryMs: 20, refreshMs: 20 };
  const adapter = openAiAdapter({ baseUrl: server.url, log, ...times, ...options });
  onTestFinished(() => adapter.close());
  return { server, adapter, logged };
}

async function startServer(port = 0): Promise<FakeOpenAi> {
  const server = await FakeOpenAi.start(port);
  onTestFinished(() => server.close());
  return server;
}

async function serve(
  options: Partial<OpenAiOptions> = {},
): Promise<Setup & { connection: EdgeConnection; edge: FakeEdge }> {
  const setup = adapterFor(await startServer(), options);
  await setup.adapter.model?.untilReady(SIGNAL);
  const edge = await startEdge();
  startWorker(edge, { handler: setup.adapter.handle });
  const connection = await edge.connection();
  await connection.welcome();
  return { ...setup, connection, edge };
}

describe("a chat", () => {
  test("of a prompt is streamed as text; the result has the text, why it ended, and the usage", async () => {
    const { connection, server } = await serve({ apiKey: "sk-1" });
    await connection.dispatch({
      input: { prompt: "Hello", system: "Be short.", temperature: 0.5 },
    });
    const chat = await server.chat();
    expect(chat.headers.authorization).toBe("Bearer sk-1");
    expect(chat.body).toEqual({
      model: "llama3.2",
      messages: [
        { role: "system", content: "Be short." },
        { role: "user", content: "Hello" },
      ],
      temperature: 0.5,
      stream: true,
      stream_options: { include_usage: true },
    });
    chat.begin();
    chat.delta({ content: "Hi" });
    expect(await connection.next("output")).toMatchObject({ delta: "Hi" });
    chat.delta({ content: " there" });
    expect(await connection.next("output")).toMatchObject({ delta: " there" });
    chat.delta({}, "stop");
    chat.end();
    expect((await connection.next("result")).output).toEqual({
      text: "Hi there",
      finish_reason: "stop",
      usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
      model: "llama3.2",
    });
  });

  test("of messages is passed on with every parameter and every digit (H18)", async () => {
    const { connection, server } = await serve({ model: "qwen3" });
    const messages = [{ role: "user", content: "2+2?" }];
    const tools = [{ type: "function", function: { name: "add" } }];
    await connection.dispatch({ input: { messages, tools, model: "llama3.2", top_p: 0.1 } });
    expect((await server.chat()).body).toMatchObject({
      messages,
      tools,
      model: "llama3.2",
      top_p: 0.1,
    });
  });

  test("streams reasoning and tool calls as JSON, and has them in its result", async () => {
    const { connection, server } = await serve();
    await connection.dispatch({ input: { prompt: "2+2?" } });
    const chat = await server.chat();
    chat.begin();
    chat.delta({ reasoning_content: "Let me " });
    chat.delta({ reasoning: "add." });
    const call = {
      index: 0,
      id: "call_1",
      type: "function",
      function: { name: "add", arguments: "" },
    };
    chat.delta({ tool_calls: [call] });
    chat.delta({ tool_calls: [{ index: 0, function: { arguments: '{"a":2' } }] });
    chat.delta({ tool_calls: [{ index: 0, function: { arguments: "}" } }] }, "tool_calls");
    chat.end();
    const frames = await connection.until("result");
    expect(frames.flatMap((frame) => (frame.type === "output" ? [frame.delta] : []))).toEqual([
      { reasoning: "Let me " },
      { reasoning: "add." },
      { tool_calls: [call] },
      { tool_calls: [{ index: 0, function: { arguments: '{"a":2' } }] },
      { tool_calls: [{ index: 0, function: { arguments: "}" } }] },
    ]);
    expect(frames.at(-1)).toMatchObject({
      output: {
        text: "",
        reasoning: "Let me add.",
        finish_reason: "tool_calls",
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "add", arguments: '{"a":2}' } },
        ],
      },
    });
  });

  test("with several choices keeps them apart", async () => {
    const { connection, server } = await serve();
    await connection.dispatch({ input: { prompt: "Hi", n: 2 } });
    const chat = await server.chat();
    chat.begin();
    chat.delta({ content: "one" }, "stop", 0);
    chat.delta({ content: "two" }, "length", 1);
    chat.end();
    const frames = await connection.until("result");
    expect(frames[1]).toMatchObject({ delta: { index: 1, text: "two" } });
    const choices = [
      { text: "one", finish_reason: "stop" },
      { text: "two", finish_reason: "length" },
    ];
    expect(frames.at(-1)).toMatchObject({ output: { text: "one", choices } });
  });

  test("gets the job's pictures within the last message of the user", async () => {
    const { connection, server, edge } = await serve({ vision: true });
    const image = { field: "image", content_type: "image/png" };
    const file = edge.serve("a.png", Buffer.from("png"), image);
    await connection.dispatch({ input: { prompt: "What is it?" }, files: [file] });
    const url = `data:image/png;base64,${Buffer.from("png").toString("base64")}`;
    expect((await server.chat()).body.messages).toEqual([
      {
        role: "user",
        content: [
          { type: "text", text: "What is it?" },
          { type: "image_url", image_url: { url } },
        ],
      },
    ]);
  });

  test("of a server that doesn't stream is the result as well", async () => {
    const { connection, server } = await serve();
    await connection.dispatch({ input: { prompt: "Hi" } });
    const message = { role: "assistant", content: "Hello!" };
    (await server.chat()).answer(200, {
      model: "m",
      choices: [{ index: 0, message, finish_reason: "stop" }],
      usage: null,
    });
    expect(await connection.next("output")).toMatchObject({ delta: "Hello!" });
    expect(await connection.next("result")).toMatchObject({
      output: { text: "Hello!", usage: null },
    });
  });

  test("that is canceled ends the request to the server", async () => {
    const { connection, server } = await serve();
    const { job_id, attempt } = await connection.dispatch({ input: { prompt: "Hi" } });
    const chat = await server.chat();
    chat.begin();
    chat.delta({ content: "never ends" });
    await connection.next("output");
    connection.send({ type: "cancel", job_id, attempt, reason: "asked" });
    await chat.closed;
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
  });
});

test("`input` is embedded, and the answer is the result", async () => {
  const { connection } = await serve({ model: "embed" });
  await connection.dispatch({ input: { input: ["a"] } });
  expect((await connection.next("result")).output).toMatchObject({
    object: "list",
    data: [{ embedding: [0.5, -0.25] }],
    model: "embed",
  });
});

describe("what goes wrong", () => {
  async function failure(
    input: JsonObject,
    act?: (server: FakeOpenAi, connection: EdgeConnection) => Promise<void>,
  ) {
    const { connection, server } = await serve();
    await connection.dispatch({ input });
    await act?.(server, connection);
    for (;;) {
      const frame = await connection.any();
      if (frame.type === "fail") return frame;
    }
  }

  test("an input that is no chat is refused in words", async () => {
    const { message, retryable } = await failure({ text: "Hi" });
    expect(message).toContain("none of `prompt` (a text), `messages` (a list)");
    expect(retryable).toBe(false);
  });

  test.each([
    [
      404,
      "model 'x' not found, try http://10.0.0.7:11434/pull",
      "refused this: model 'x' not found, try …",
      false,
    ],
    [400, "too long for /home/me/models/x.gguf", "refused this: too long for …", false],
    [429, "slow down", "refused this: slow down", true],
    [500, "CUDA error at /opt/vllm/x.py", "failed with status 500.", true],
  ])(
    "status %d: what it says is passed on without places, if it is about the request (W18a)",
    async (status, said, shown, again) => {
      const { message, retryable } = await failure({ prompt: "Hi" }, async (server) => {
        (await server.chat()).answer(status, { error: { message: said, code: status } });
      });
      expect(message).toBe(`The model's server ${shown}`);
      expect(retryable).toBe(again);
    },
  );

  test("an error within the stream fails the job", async () => {
    const { message } = await failure({ prompt: "Hi" }, async (server) => {
      const chat = await server.chat();
      chat.begin();
      chat.event({ error: { message: "out of memory", type: "server_error" } });
    });
    expect(message).toBe("The model's server gave up: out of memory");
  });

  test("an answer that breaks off is tried again", async () => {
    const { message, retryable } = await failure({ prompt: "Hi" }, async (server, connection) => {
      const chat = await server.chat();
      chat.begin();
      chat.delta({ content: "Hel" });
      await connection.next("output");
      chat.drop();
    });
    expect(message).toBe("The model's server broke its answer off.");
    expect(retryable).toBe(true);
  });

  test("an answer that is none fails the job, and is logged", async () => {
    const { connection, server, logged } = await serve();
    await connection.dispatch({ input: { prompt: "Hi" } });
    const chat = await server.chat();
    chat.begin();
    chat.event(["not", "a chunk"]);
    expect((await connection.next("fail")).message).toContain("no answer of an OpenAI-compatible");
    expect(logged.join()).toContain('["not","a chunk"]');
  });
});

describe("the server", () => {
  test("is waited for, with a line that names it, also while it loads its model", async () => {
    const port = await freePort();
    const baseUrl = new URL(`http://127.0.0.1:${port}/v1`);
    const logged: string[] = [];
    const note = (line: string) => void logged.push(line);
    const log = { debug: note, info: note, warn: note, error: note };
    const adapter = openAiAdapter({ baseUrl, log, retryMs: 10 });
    onTestFinished(() => adapter.close());
    const ready = adapter.model?.untilReady(SIGNAL);
    await expect
      .poll(() => logged.join())
      .toContain(`${baseUrl.href} does not answer (connect ECONNREFUSED`);
    const server = await FakeOpenAi.start(port);
    onTestFinished(() => server.close());
    server.status = 503;
    await expect.poll(() => server.modelsAsked).toBeGreaterThan(1);
    server.status = 200;
    expect(await ready).toMatchObject({
      input: { properties: { model: { enum: ["llama3.2", "qwen3"], default: "llama3.2" } } },
    });
    expect(logged.at(-1)).toContain("is there");
  });

  test("offers other models: the worker registers again once no job runs", async () => {
    const { adapter, server, connection } = await serve();
    const lost = adapter.model?.untilLost();
    await connection.dispatch({ input: { prompt: "Hi" } });
    const chat = await server.chat();
    server.models = ["new"];
    const asked = server.modelsAsked;
    await expect.poll(() => server.modelsAsked).toBeGreaterThan(asked);
    expect(await Promise.race([lost, Promise.resolve("still there")])).toBe("still there");
    chat.answer(200, { choices: [] });
    expect(await lost).toBe("what the model's server offers has changed");
    expect(await adapter.model?.untilReady(SIGNAL)).toMatchObject({
      input: { properties: { model: { enum: ["new"] } } },
    });
  });

  test("that is away fails its job, which is tried again, and takes the worker's place away", async () => {
    const { adapter, server, connection } = await serve({ refreshMs: 60_000 });
    const lost = adapter.model?.untilLost();
    await server.close();
    await connection.dispatch({ input: { prompt: "Hi" } });
    expect(await connection.next("fail")).toMatchObject({
      job_id: JOB_ID,
      message: "The model's server can't be reached just now.",
      retryable: true,
    });
    expect(await lost).toBe("the model's server can't be reached");
  });

  test.each([
    [401, "set OPENAI_API_KEY"],
    [404, "most addresses end with /v1"],
  ])("whose list of models is answered with %d can't be used: %s", async (status, words) => {
    const server = await startServer();
    server.status = status;
    const { adapter } = adapterFor(server);
    await expect(adapter.model?.untilReady(SIGNAL)).rejects.toThrow(words);
  });

  test("without a list of models is used with --model", async () => {
    const server = await startServer();
    server.status = 404;
    const { adapter } = adapterFor(server, { model: "mine" });
    expect(await adapter.model?.untilReady(SIGNAL)).toMatchObject({
      input: { properties: { model: { enum: ["mine"], default: "mine" } } },
    });
  });
});
