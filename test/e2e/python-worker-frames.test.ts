import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { CLOSE } from "../../src/protocol/codes.ts";
import { type EdgeConnection, FakeEdge, JOB_ID, SPACE, TOKEN } from "../support/fake-edge.ts";
import type { Program } from "../support/program.ts";
import { launchPythonWorker, PYTHON_WORKER } from "./python.ts";

const REF = { job_id: JOB_ID, attempt: 1 };
const COUNT = { model: "count", to: 3, pause: 0 };

let edge: FakeEdge;

beforeEach(async () => {
  edge = await FakeEdge.start();
});
afterEach(() => edge.close());

function launch(): Program {
  return launchPythonWorker({ url: edge.url, space: SPACE, token: TOKEN });
}

async function connected(): Promise<EdgeConnection> {
  const connection = await edge.connection();
  await connection.welcome();
  return connection;
}

/** A server that answers every request and every upgrade with this text. */
async function serveRaw(text: string): Promise<{ url: string; server: Server }> {
  const server = createServer();
  server.on("upgrade", (_request, socket) => socket.end(text));
  server.on("request", (_request, response) => response.socket?.end(text));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe("the Python worker of docs/protocol.md, frame by frame", () => {
  it("registers, accepts, and sends outputs in order, progress and the result (W1, W2, W6, W12, W21)", async () => {
    const worker = launch();
    const connection = await edge.connection();
    expect(connection.path).toBe(`/api/spaces/${SPACE}/connect`);
    expect(connection.headers.authorization).toBe(`Bearer ${TOKEN}`);
    expect(await connection.welcome()).toMatchObject({ concurrency: 1, resume: [] });
    await worker.prints(`connected: serving the space ${SPACE}`);
    await connection.dispatch({ input: COUNT });
    for (const delta of [0, 1, 2]) {
      expect(await connection.next("output")).toEqual({ type: "output", ...REF, delta });
    }
    expect(await connection.next("result")).toMatchObject({ ...REF, output: 3 });
    connection.ack(REF, "result");
    await connection.dispatch({ attempt: 2, input: { model: "progress" } });
    const frames = await connection.until("result");
    expect(frames.at(-2)).toMatchObject({ type: "progress", progress: 100 });
    expect(worker.printed).not.toContain(TOKEN);
  });

  it("sends its pings while the model blocks (W9)", async () => {
    const worker = launch();
    const connection = await edge.connection();
    await connection.welcome({ heartbeat_s: 0.1 });
    await connection.dispatch({ input: { model: "block" } });
    await worker.prints("blocking");
    for (let pings = 0; pings < 5; pings++) await connection.ping();
  });

  it("sends again what the edge lacks, in order, and an end that was not acknowledged (W20a, W25, W26)", async () => {
    launch();
    const first = await connected();
    await first.dispatch({ input: COUNT });
    await first.until("result");
    first.drop();
    const second = await edge.connection();
    expect((await second.welcome({}, { resumed: [{ ...REF, outputs: 1 }] })).resume).toEqual([REF]);
    expect(await second.next("output")).toMatchObject({ delta: 1 });
    expect(await second.next("output")).toMatchObject({ delta: 2 });
    expect(await second.next("result")).toMatchObject({ output: 3 });
    second.ack(REF, "result");
    second.close(1012);
    const third = await edge.connection();
    expect((await third.welcome()).resume).toEqual([]);
  });

  it("goes on with a job over a new connection, and sends the latest progress again (W26)", async () => {
    launch();
    const first = await connected();
    await first.dispatch({ input: { model: "progress then stop" } });
    await first.next("progress");
    first.drop();
    const second = await edge.connection();
    await second.welcome({}, { resumed: [{ ...REF, outputs: 0 }] });
    expect(await second.next("progress")).toMatchObject({ progress: 40 });
    second.send({ type: "cancel", ...REF, reason: "nobody wants it" });
    expect(await second.next("fail")).toMatchObject({ ...REF, code: "canceled" });
  });

  it("forgets what was dropped or is stale, and takes the next job (W22, W25a)", async () => {
    launch();
    const first = await connected();
    await first.dispatch({ input: { model: "stop" } });
    await first.next("output");
    first.drop();
    const second = await edge.connection();
    await second.welcome({}, { dropped: [REF] });
    await second.dispatch({ attempt: 2, input: { model: "stop" } });
    await second.next("output");
    second.send({ type: "stale", job_id: JOB_ID, attempt: 2 });
    await second.dispatch({ attempt: 3, input: COUNT });
    const frames = await second.until("result");
    expect(frames.map(({ type }) => type)).toEqual(["output", "output", "output", "result"]);
    expect(frames.every((frame) => "attempt" in frame && frame.attempt === 3)).toBe(true);
  });

  it("answers a cancel: the model stops at its flag, a result that comes too late is not sent (W23)", async () => {
    launch();
    const connection = await connected();
    for (const [index, model] of ["stop", "ignore"].entries()) {
      const job = await connection.dispatch({ attempt: index + 1, input: { model } });
      if (model === "stop")
        expect(await connection.next("output")).toMatchObject({ delta: "first" });
      const ref = { job_id: job.job_id, attempt: job.attempt };
      connection.send({ type: "cancel", ...ref, reason: "canceled" });
      expect(await connection.next("fail")).toMatchObject({ ...ref, code: "canceled" });
      connection.ack(ref, "fail");
    }
    connection.send({ type: "cancel", job_id: JOB_ID, attempt: 9, reason: "canceled" });
    expect(await connection.next("fail")).toMatchObject({ attempt: 9, code: "canceled" });
  });

  it("drains on SIGTERM: finishes its job and closes with 1000 once it is acknowledged (W28)", async () => {
    const worker = launch();
    const connection = await connected();
    await connection.dispatch({ input: { ...COUNT, pause: 0.2 } });
    const stopped = worker.stop("SIGTERM");
    const frames = await connection.until("result");
    expect(frames.map(({ type }) => type)).toContain("drain");
    connection.ack(REF, "result");
    expect(await connection.closed).toBe(1000);
    expect(await stopped).toBe(0);
  });

  it("gives its jobs back on a second signal (W28a)", async () => {
    const worker = launch();
    const connection = await connected();
    await connection.dispatch({ input: { model: "block" } });
    const stopped = worker.stop("SIGINT");
    await connection.until("drain");
    void worker.stop("SIGINT");
    expect(await connection.closed).toBe(1000);
    expect(await stopped).toBe(1);
  });

  it.each(Object.values(CLOSE))("obeys close code $code (W30)", async ({ code, reconnect }) => {
    const worker = launch();
    const connection = await connected();
    connection.error("some_code", "The reason is here.");
    connection.close(code, "The reason is here.");
    await worker.prints("The reason is here.");
    await worker.prints(new RegExp(`disconnected .${code}.`));
    if (reconnect) await connected();
    else expect(await worker.exited).toBe(1);
  });

  it.each([401, 403, 404, 409, 426])(
    "ends after status %i and says why (W3, W4)",
    async (status) => {
      edge.refuse(status, "The reason is here.");
      const worker = launch();
      expect(await worker.exited).toBe(1);
      expect(worker.printed).toContain(`status ${status}`);
    },
  );

  it.each([401, 403, 404])("dials again after status %i of a proxy (W4a)", async (status) => {
    edge.answerAsProxy(status);
    const worker = launch();
    await connected();
    expect(worker.printed).toMatch(new RegExp(`status ${status}.*dialing again`, "s"));
  });

  it.each([429, 500, 503])("dials again after status %i and says why (W4)", async (status) => {
    edge.refuse(status, "The reason is here.");
    const worker = launch();
    await connected();
    expect(worker.printed).toMatch(new RegExp(`status ${status}.*\n.*dialing again in [01]\\.`));
  });

  it("treats a silent edge as gone, and dials again (W10, W31)", async () => {
    const worker = launch();
    const first = await edge.connection();
    first.answersPings = false;
    await first.welcome({ heartbeat_s: 0.1, lease_s: 0.5 });
    await worker.prints("nothing came for");
    await connected();
  });

  it("waits for an edge that can't be reached", async () => {
    const { port } = new URL(edge.url);
    await edge.close();
    const worker = launch();
    await worker.prints(/no connection to .*dialing again in/s);
    edge = await FakeEdge.start(Number(port));
    await connected();
  });

  it.each([
    ["a redirect", "302 Found\r\nlocation: https://login.example/", "DIALOUT_URL.*login.example"],
    ["the page of a captive portal", "200 OK\r\ncontent-type: text/html", "status 200"],
    ["an error in chunks", "503 Busy\r\ntransfer-encoding: chunked", "status 503: Busy"],
  ])("dials again after %s, and says what it was (W4)", async (_name, head, words) => {
    const problem = '{"detail":"Busy."}';
    const chunked = `${problem.length.toString(16)}\r\n${problem}\r\n0\r\n\r\n`;
    const body = head.includes("chunked") ? chunked : "<html>Please log in.</html>";
    const { url, server } = await serveRaw(`HTTP/1.1 ${head}\r\nconnection: close\r\n\r\n${body}`);
    const worker = launchPythonWorker({ url, space: SPACE, token: TOKEN });
    await worker.prints(new RegExp(`${words}.*dialing again.*${words}`, "s"));
    server.close();
  });

  it("fetches files again that came incomplete, and fails with a sentence if they don't come (W14b)", async () => {
    launch();
    const connection = await connected();
    const whole = edge.serve("whole.txt", Buffer.from("whole"));
    const short = edge.serve("short.txt", Buffer.from("short"), { size: 9 });
    const gone = { ...whole, name: "gone.txt", url: "/files/none" };
    await connection.dispatch({ input: { model: "fetch" }, files: [whole] });
    expect(await connection.next("result")).toMatchObject({ output: ["whole"] });
    connection.ack(REF, "result");
    for (const [attempt, file, why] of [
      [2, short, "The file 'short.txt' could not be fetched: it should have 9 bytes, 5 came."],
      [3, gone, "The file 'gone.txt' could not be fetched: the edge answered with status 404."],
    ] as const) {
      await connection.dispatch({ attempt, input: { model: "fetch" }, files: [file] });
      expect(await connection.next("fail")).toMatchObject({ message: why, retryable: true });
      connection.ack({ job_id: JOB_ID, attempt }, "fail");
    }
  });

  it("goes on with a file whose connection is cut, within the attempt, and checks the checksum (W14b, W14f)", async () => {
    const content = Buffer.from("0123456789".repeat(20_000));
    const starts: number[] = [];
    const server = createServer((request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      starts.push(from);
      response.writeHead(from === 0 ? 200 : 206, { "content-length": content.length - from });
      const end = from + 60_000;
      const cut = () => (end < content.length ? response.destroy() : response.end());
      response.write(content.subarray(from, end), cut);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
    const sha256 = createHash("sha256").update(content).digest("hex");
    const worker = launch();
    const connection = await connected();
    const file = edge.serve("a.txt", content, { url, sha256 });
    await connection.dispatch({ input: { model: "fetch" }, files: [file] });
    expect(await connection.next("result")).toMatchObject({ output: [content.toString()] });
    connection.ack(REF, "result");
    expect(starts.length).toBeGreaterThanOrEqual(4);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    const wrong = edge.serve("b.txt", Buffer.from("b"), { sha256 });
    await connection.dispatch({ attempt: 2, input: { model: "fetch" }, files: [wrong] });
    expect(await connection.next("fail")).toMatchObject({
      message: "The file 'b.txt' could not be fetched: its checksum is wrong.",
    });
    expect(worker.printed).toContain("200,000 bytes are here");
  });

  it("says what it needs", async () => {
    const no = { url: "", space: SPACE, token: TOKEN };
    const worker = launchPythonWorker(no);
    expect(await worker.exited).toBe(1);
    expect(worker.printed).toContain("DIALOUT_URL must be");
    const bare = launchPythonWorker(no, { script: PYTHON_WORKER, args: ["-I", "-S"] });
    expect(await bare.exited).toBe(1);
    expect(bare.printed).toContain("pip install -U websockets");
    const old = await mkdtemp(join(tmpdir(), "dialout-python-"));
    onTestFinished(() => rm(old, { recursive: true }));
    await mkdir(join(old, "websockets"));
    await writeFile(join(old, "websockets/__init__.py"), "");
    await writeFile(join(old, "websockets/version.py"), 'version = "9.1"');
    const names = "ConnectionClosed = InvalidStatus = WebSocketException = Exception";
    await writeFile(join(old, "websockets/exceptions.py"), names);
    const outdated = launchPythonWorker(no, { script: PYTHON_WORKER, env: { PYTHONPATH: old } });
    expect(await outdated.exited).toBe(1);
    expect(outdated.printed).toContain("pip install -U websockets");
    const wss = launchPythonWorker({ ...no, url: edge.url.replace("http", "ws") });
    await connected();
    await wss.prints("connected");
  });
});
