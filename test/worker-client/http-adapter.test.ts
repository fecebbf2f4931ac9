import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/protocol/codec.ts";
import { httpAdapter } from "../../worker-client/adapters/http/http.ts";
import { type EdgeConnection, type FakeEdge, JOB_ID, OUTPUTS } from "../support/fake-edge.ts";
import { textOf } from "../support/fake-openai.ts";
import { startEdge, startWorker } from "./start.ts";

type Answer = (request: IncomingMessage & { text: string }, response: ServerResponse) => void;

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

async function serve(
  answer: Answer,
): Promise<{ edge: FakeEdge; connection: EdgeConnection; close(): void }> {
  const server = createServer(async (request, response) => {
    answer(Object.assign(request, { text: await textOf(request) }), response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(close);
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/predict`);
  const adapter = httpAdapter({ url, log: SILENT });
  onTestFinished(() => adapter.close());
  await adapter.model?.untilReady(new AbortController().signal);
  const edge = await startEdge();
  startWorker(edge, { handler: adapter.handle });
  const connection = await edge.connection();
  await connection.welcome();
  return { edge, connection, close };
}

const ended =
  (type: string, body: string, status = 200): Answer =>
  (_, response) =>
    response.writeHead(status, { "content-type": type }).end(body);

async function outcomeOf(answer: Answer, input: JsonObject = {}) {
  const { connection, edge } = await serve(answer);
  await connection.dispatch({ input, outputs: OUTPUTS });
  const frames = [];
  for (;;) {
    const frame = await connection.any();
    frames.push(frame);
    if (frame.type === "result" || frame.type === "fail") return { frames, end: frame, edge };
  }
}

describe("the request", () => {
  test("is the input as JSON, with headers about the job; JSON is the result, with every digit (H18)", async () => {
    let got: (IncomingMessage & { text: string }) | undefined;
    const { connection } = await serve((request, response) => {
      got = request;
      response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
      response.end('{"seed":18446744073709551615}');
    });
    await connection.dispatch({ input: { prompt: "größer" }, user: "alice" });
    const { output } = await connection.next("result");
    expect(JSON.stringify(output)).toBe('{"seed":18446744073709551615}');
    expect(got?.method).toBe("POST");
    expect(got?.url).toBe("/predict");
    expect(got?.text).toBe('{"prompt":"größer"}');
    expect(got?.headers).toMatchObject({
      "content-type": "application/json",
      "dialout-job-id": JOB_ID,
      "dialout-attempt": "1",
      "dialout-user": "alice",
    });
  });

  test("is a form if there are files: the input is its part `input`", async () => {
    let text = "";
    const { edge, connection } = await serve((request, response) => {
      text = request.text;
      response.writeHead(204).end();
    });
    const file = edge.serve('a "b".txt', Buffer.from("content"), { field: "photo" });
    await connection.dispatch({ input: { n: 1 }, files: [file] });
    expect(await connection.next("result")).toMatchObject({ output: null });
    const [, input, photo, end] = text.split(/--dialout-[0-9a-f-]{36}/);
    expect(input).toBe(
      '\r\nContent-Disposition: form-data; name="input"\r\nContent-Type: application/json\r\n\r\n{"n":1}\r\n',
    );
    expect(photo).toBe(
      '\r\nContent-Disposition: form-data; name="photo"; filename="a %22b%22.txt"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n',
    );
    expect(end).toBe("--\r\n");
  });

  test("is ended when the job is canceled", async () => {
    let closed: Promise<void> | undefined;
    const { connection } = await serve((_, response) => {
      closed = new Promise((resolve) => response.on("close", resolve));
      response.writeHead(200, { "content-type": "text/plain" }).write("begun");
    });
    const { job_id, attempt } = await connection.dispatch();
    await connection.next("output");
    connection.send({ type: "cancel", job_id, attempt, reason: "asked" });
    await closed;
    expect(await connection.next("fail")).toMatchObject({ code: "canceled" });
  });
});

describe("the answer", () => {
  test("as Server-Sent Events is streamed: frames by name or type, other JSON, and text", async () => {
    const { frames } = await outcomeOf(
      ended(
        "text/event-stream",
        [
          'event: progress\ndata: {"progress": 40, "message": "half way"}\n\n',
          'data: {"type":"output","delta":"typed "}\n\n',
          "data: plain \n\n: a comment\n\n",
          'data: {"n":\ndata: 1}\n\n',
          'event: result\ndata: {"output": [1, 2], "metrics": {"tokens": 2}}\n\n',
          "data: [DONE]\n\n",
        ].join(""),
      ),
    );
    expect(frames).toMatchObject([
      { type: "progress", progress: 40, message: "half way" },
      { type: "output", delta: "typed " },
      { type: "output", delta: "plain " },
      { type: "output", delta: { n: 1 } },
      { type: "result", output: [1, 2], metrics: { tokens: 2 } },
    ]);
  });

  test("as NDJSON is streamed line by line", async () => {
    const { frames } = await outcomeOf(
      ended("application/x-ndjson", '{"type":"progress","progress":1}\n\n{"token":"a"}\n"b"\n'),
    );
    expect(frames).toMatchObject([
      { type: "progress", progress: 1 },
      { type: "output", delta: { token: "a" } },
      { type: "output", delta: "b" },
      { type: "result", output: [{ token: "a" }, "b"] },
    ]);
  });

  test("as text is streamed and is the result", async () => {
    const { end } = await outcomeOf(ended("text/plain", "hello"));
    expect(end).toMatchObject({ output: "hello" });
  });

  test.each([
    [{ "content-type": "image/png" }, "output.png"],
    [{ "content-type": "audio/mpeg" }, "output.mp3"],
    [
      {
        "content-type": "image/png",
        "content-disposition": 'attachment; filename="../../cat.png"',
      },
      "cat.png",
    ],
  ])("that is a file becomes an output file: %j", async (headers, name) => {
    const { frames, edge } = await outcomeOf((_, response) =>
      response.writeHead(200, headers).end("bytes"),
    );
    expect(frames).toMatchObject([
      { type: "output", file: name },
      { type: "result", output: { file: name } },
    ]);
    const contentType = headers["content-type"];
    expect(edge.outputs.get(name)).toEqual({ bytes: Buffer.from("bytes"), contentType });
  });

  test.each([
    [
      422,
      '{"detail":[{"loc":["body","width"],"msg":"must be positive"}]}',
      "refused this: width: must be positive",
      false,
    ],
    [404, "<html>nothing</html>", "failed with status 404.", false],
    [302, "", "failed with status 302.", false],
    [503, '{"detail":"at /srv/model.py"}', "failed with status 503.", true],
  ])("with status %d fails the job: %s", async (status, body, words, retryable) => {
    const { end } = await outcomeOf(ended("application/json", body, status));
    expect(end).toMatchObject({ message: `The model's server ${words}`, retryable });
  });

  test.each([
    ["application/json", "{broken", "is not valid JSON"],
    ["application/x-ndjson", '{"type":"result"}\n', "sent a malformed result (output: is missing)"],
    ["text/event-stream", `data: ${"x".repeat(5_000_000)}\n\n`, "sent an event of more than"],
  ])("of the type %s that can't be read fails the job", async (type, body, words) => {
    const { end } = await outcomeOf(ended(type, body));
    expect(end).toMatchObject({ type: "fail", retryable: false });
    expect(end).toMatchObject({ message: expect.stringContaining(words) });
  });

  test("of a server that has gone away is tried again", async () => {
    const { connection, close } = await serve(ended("text/plain", ""));
    close();
    await connection.dispatch();
    expect(await connection.next("fail")).toMatchObject({ retryable: true });
  });
});
