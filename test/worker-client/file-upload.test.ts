import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type FileContent, uploadFile } from "../../worker-client/file-upload.ts";
import { JobFailure } from "../../worker-client/index.ts";

const CONTENT = Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7) % 251));
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Stores the file as the edge does. */
const store: Answer = async (request, response) => {
  const bytes = await bytesOf(request);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const file = { name: "a b.png", content_type: "image/png", size: bytes.length, sha256 };
  response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify(file));
};

/** Cuts the connection after so many bytes. */
function cutAfter(bytes: number): Answer {
  return async (request, response) => {
    let received = 0;
    for await (const piece of request) {
      received += piece.length;
      if (received >= bytes) break;
    }
    response.destroy();
  };
}

/** Takes no bytes at all, nor gives an answer. */
const stall: Answer = (request) => void request.pause();

function refuse(status: number, detail: string): Answer {
  return async (request, response) => {
    await bytesOf(request);
    const type = "application/problem+json";
    response.writeHead(status, { "content-type": type }).end(JSON.stringify({ detail }));
  };
}

/** A server that gives these answers in turn, the last one again and again. */
async function serve(...answers: Answer[]) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    void Promise.resolve(answer?.(request, response)).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { edgeUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

interface Change {
  content?: FileContent;
  signal?: AbortSignal;
  stallMs?: number;
  leftMs?: number;
}

function upload(edgeUrl: string, change: Change = {}) {
  const logged: string[] = [];
  const note = (line: string) => void logged.push(line);
  const endsAt = change.leftMs === undefined ? null : Date.now() + change.leftMs;
  const sending = uploadFile("a b.png", change.content ?? CONTENT, "image/png", {
    edgeUrl,
    url: () => "/jobs/1/{name}?signature=x",
    deadlineAt: () => endsAt,
    signal: change.signal ?? new AbortController().signal,
    log: { debug: note, info: note, warn: note, error: note },
    stallMs: change.stallMs,
    backoff: { firstMs: 1, capMs: 20 },
  });
  return { sending, logged };
}

const FILE = { name: "a b.png", contentType: "image/png", size: CONTENT.length, sha256: SHA256 };

describe("a file that a handler sends", () => {
  test.each([
    ["bytes", async () => CONTENT],
    ["a Blob", async () => new Blob([CONTENT])],
    ["a path", async () => ({ path: await fileWith(CONTENT) })],
  ])("from %s arrives whole, with its length and checksum (W36)", async (_what, make) => {
    const { edgeUrl, requests } = await serve(store);
    const { sending } = upload(edgeUrl, { content: await make() });
    expect(await sending).toEqual(FILE);
    const [request] = requests;
    expect(request?.url).toBe("/jobs/1/a%20b.png?signature=x");
    expect(request?.headers).toMatchObject({
      "content-length": String(CONTENT.length),
      "content-type": "image/png",
      "repr-digest": `sha-256=:${Buffer.from(SHA256, "hex").toString("base64")}:`,
    });
    expect(request?.headers["transfer-encoding"]).toBeUndefined();
  });

  test("without content arrives too", async () => {
    const { edgeUrl, requests } = await serve(store);
    await upload(edgeUrl, { content: new Uint8Array() }).sending;
    expect(requests[0]?.headers["content-length"]).toBe("0");
  });

  test("is sent again after a cut, a stall and a failure of the edge (W36a)", async () => {
    const { edgeUrl, requests } = await serve(
      cutAfter(100_000),
      cutAfter(0),
      refuse(503, "restarting"),
      stall,
      store,
    );
    // More than the buffers of a connection take: otherwise all of it has gone, and an answer is waited for.
    const content = Buffer.concat(Array.from({ length: 50 }, () => CONTENT));
    const { sending, logged } = upload(edgeUrl, { content, stallMs: 400 });
    expect(await sending).toMatchObject({ size: content.length });
    expect(requests).toHaveLength(5);
    expect(
      logged.some((line) => /nothing went for 0\.4 s; .+ bytes went, going on$/.test(line)),
    ).toBe(true);
  });

  test("fails with the edge's reason if the edge refuses it (W36b)", async () => {
    const { edgeUrl, requests } = await serve(refuse(409, "Another file has this name."));
    const error = await upload(edgeUrl).sending.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(JobFailure);
    expect(error).toMatchObject({ retryable: false });
    expect(String(error)).toContain("could not be sent");
    expect(String(error)).toContain("Another file has this name");
    expect(requests).toHaveLength(1);
  });

  test("is given up with its attempt, and before its deadline says why", async () => {
    const { edgeUrl } = await serve(stall);
    const stop = new AbortController();
    const { sending } = upload(edgeUrl, { signal: stop.signal });
    setTimeout(() => stop.abort(new Error("canceled")), 50);
    await expect(sending).rejects.toThrow("canceled");
    const late = upload((await serve(refuse(503, "restarting"))).edgeUrl, { leftMs: 3_001 });
    await expect(late.sending).rejects.toThrow(/restarting; .+ before the deadline/);
  });

  test.each(["", "..", "a/b", "x".repeat(201), "half \ud800"])(
    "can't be named %j (W36d)",
    async (name) => {
      const options = { edgeUrl: "http://127.0.0.1:1", url: () => "", deadlineAt: () => null };
      const signal = new AbortController().signal;
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const sending = uploadFile(name, CONTENT, undefined, { ...options, signal, log });
      await expect(sending).rejects.toThrow(JobFailure);
    },
  );
});

async function fileWith(content: Uint8Array): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "dialout-upload-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "file");
  await writeFile(path, content);
  return path;
}
