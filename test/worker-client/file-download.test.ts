import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { JobFailure } from "../../worker-client/index.ts";
import { jobFile } from "../../worker-client/job-files.ts";

const CONTENT = Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7) % 251));
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");
const ETAG = '"one"';

type Answer = (request: IncomingMessage, response: ServerResponse, from: number) => void;

/** Where the part that a request asks for begins. */
function startOf(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
}

/** Answers as the edge does. */
const whole: Answer = (_request, response, from) => {
  head(response, from);
  response.end(CONTENT.subarray(from));
};

function head(response: ServerResponse, from: number): void {
  const length = { "content-length": String(CONTENT.length - from), etag: ETAG };
  if (from === 0) response.writeHead(200, length);
  else {
    const range = `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}`;
    response.writeHead(206, { ...length, "content-range": range });
  }
}

/** Sends so many bytes and then cuts the connection. */
function cutAfter(bytes: number): Answer {
  return (_request, response, from) => {
    head(response, from);
    response.write(CONTENT.subarray(from, from + bytes), () => response.destroy());
  };
}

/** Sends so many bytes and then nothing any more. */
function stallAfter(bytes: number): Answer {
  return (_request, response, from) => {
    head(response, from);
    response.write(CONTENT.subarray(from, from + bytes));
  };
}

function refuse(status: number, detail: string | null): Answer {
  return (_request, response) => {
    const type = detail === null ? "text/html" : "application/problem+json";
    response.writeHead(status, { "content-type": type }).end(JSON.stringify({ detail }));
  };
}

/** A server that gives these answers in turn, the last one again and again. */
async function serve(...answers: Answer[]) {
  const requests: { url: string; from: number; ifRange: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const from = startOf(request);
    requests.push({
      url: request.url ?? "",
      from,
      ifRange: request.headers["if-range"]?.toString(),
    });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    answer?.(request, response, from);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { edgeUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

interface FileChange {
  size?: number;
  sha256?: string | undefined;
  url?: () => string;
  stallMs?: number;
  /** Time until the deadline of the attempt. */
  leftMs?: number;
}

function fileOf(edgeUrl: string, change: FileChange = {}, signal = new AbortController().signal) {
  const logged: string[] = [];
  const note = (line: string) => void logged.push(line);
  const log = { debug: note, info: note, warn: note, error: note };
  const entry = { field: "a", name: "a.bin", content_type: "text/plain", url: "/f" };
  const { size = CONTENT.length, url = () => "/f", stallMs = 20_000, leftMs } = change;
  const endsAt = leftMs === undefined ? null : Date.now() + leftMs;
  const deadlineAt = () => endsAt;
  const sha256 = "sha256" in change ? change.sha256 : SHA256;
  const backoff = { firstMs: 1, capMs: 20 };
  const options = { edgeUrl, url, deadlineAt, signal, log, stallMs, backoff };
  return { file: jobFile({ ...entry, size, sha256 }, options), logged };
}

async function failureOf(promise: Promise<unknown>): Promise<JobFailure> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(JobFailure);
  return error as JobFailure;
}

describe("a file whose connection is cut again and again", () => {
  test("comes whole in one attempt: each connection goes on where the last one ended (W14f)", async () => {
    const { edgeUrl, requests } = await serve(
      ...Array.from({ length: 12 }, () => cutAfter(30_000)),
      whole,
    );
    const { file, logged } = fileOf(edgeUrl);
    expect((await file.download()).equals(CONTENT)).toBe(true);
    expect(requests).toHaveLength(13);
    const starts = requests.map(({ from }) => from);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(starts.at(-1)).toBeGreaterThan(0);
    const resumed = requests.filter(({ from }) => from > 0);
    expect(resumed.every(({ ifRange }) => ifRange === ETAG)).toBe(true);
    expect(logged[0]).toMatch(/^the file "a\.bin": .+; [\d,]+ of 400,000 bytes came, going on$/);
  });

  test("is stored whole, and no part of it stays if it can't be had (W14f)", async () => {
    const folder = await mkdtemp(join(tmpdir(), "download-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const { edgeUrl } = await serve(cutAfter(100_000), cutAfter(100_000), whole);
    await fileOf(edgeUrl).file.save(join(folder, "a"));
    expect((await readFile(join(folder, "a"))).equals(CONTENT)).toBe(true);
    const gone = await serve(cutAfter(100_000), refuse(404, "It was erased."));
    await failureOf(fileOf(gone.edgeUrl).file.save(join(folder, "b")));
    expect(existsSync(join(folder, "b"))).toBe(false);
    await expect(fileOf(edgeUrl).file.save(join(folder, "a"))).rejects.toThrow("EEXIST");
  });

  test("also comes from a server that sends no parts, or ends its answers too early", async () => {
    const noParts: Answer = (request, response) => whole(request, response, 0);
    const short: Answer = (_request, response, from) => {
      response.writeHead(from === 0 ? 200 : 206, {
        "content-range": `bytes ${from}-${from + 9_999}/${CONTENT.length}`,
      });
      response.end(CONTENT.subarray(from, from + 10_000));
    };
    for (const answers of [
      [cutAfter(50_000), noParts],
      [short, short, short, whole],
    ]) {
      const { edgeUrl } = await serve(...answers);
      expect((await fileOf(edgeUrl).file.download()).equals(CONTENT)).toBe(true);
    }
  });

  test("is not fetched any longer than the attempt is wanted", async () => {
    const { edgeUrl, requests } = await serve(refuse(503, "restarting"));
    const controller = new AbortController();
    const { file, logged } = fileOf(edgeUrl, {}, controller.signal);
    const download = file.download();
    await expect.poll(() => requests.length).toBeGreaterThan(5);
    controller.abort(new Error("the job was canceled"));
    await expect(download).rejects.toThrow("the job was canceled");
    expect(logged.at(-1)).toBe(
      'the file "a.bin": 0 of 400,000 bytes came before the attempt was given up',
    );
  });
});

test("a file that can't be had until shortly before the deadline fails the job with what was wrong (W14f)", async () => {
  const { edgeUrl } = await serve(cutAfter(100_000), refuse(503, "The edge is busy."));
  const failure = await failureOf(fileOf(edgeUrl, { leftMs: 3_300 }).file.download());
  expect(failure.message).toMatch(
    /^The file "a\.bin" could not be fetched: the edge answered with status 503: The edge is busy; [\d,]+ of 400,000 bytes came before the deadline\.$/,
  );
  expect(failure.retryable).toBe(true);
});

test("a connection on which nothing comes is given up, and the file goes on on another one (W14f)", async () => {
  const { edgeUrl, requests } = await serve(() => undefined, stallAfter(120_000), whole);
  const { file, logged } = fileOf(edgeUrl, { stallMs: 300 });
  expect((await file.download()).equals(CONTENT)).toBe(true);
  expect(requests.map(({ from }) => from)).toEqual([0, 0, 120_000]);
  expect(logged[0]).toContain("nothing came for 0.3 s");
});

describe("a file with a wrong checksum", () => {
  const wrong: Answer = (_request, response) => {
    response.writeHead(200, { "content-length": String(CONTENT.length) });
    response.end(Buffer.from(CONTENT).fill(1, 200_000, 200_001));
  };

  test("is fetched again from its beginning (W14b)", async () => {
    const folder = await mkdtemp(join(tmpdir(), "download-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const { edgeUrl } = await serve(wrong, wrong, whole);
    await fileOf(edgeUrl).file.save(join(folder, "a"));
    expect((await readFile(join(folder, "a"))).equals(CONTENT)).toBe(true);
  });

  test("fails the job if it stays wrong, unless the edge announced none (W14b)", async () => {
    const { edgeUrl, requests } = await serve(wrong);
    const failure = await failureOf(fileOf(edgeUrl).file.download());
    expect(failure.message).toBe('The file "a.bin" could not be fetched: its checksum is wrong.');
    expect([failure.retryable, requests.length]).toEqual([true, 3]);
    expect(await fileOf(edgeUrl, { sha256: undefined }).file.download()).toHaveLength(400_000);
  });
});

describe("a file that the edge refuses", () => {
  test("fails the job with the edge's reason, and no try is wasted", async () => {
    const { edgeUrl, requests } = await serve(refuse(404, "The file no longer exists."));
    const failure = await failureOf(fileOf(edgeUrl).file.download());
    expect(failure.message).toBe(
      'The file "a.bin" could not be fetched: the edge answered with status 404: The file no longer exists.',
    );
    expect(requests).toHaveLength(1);
  });

  test("because its address has expired is fetched from the new one that a resumed worker gets (W26c)", async () => {
    const { edgeUrl, requests } = await serve((request, response, from) =>
      (request.url === "/new" ? whole : refuse(403, "This address has expired."))(
        request,
        response,
        from,
      ),
    );
    let address = "/old";
    const { file } = fileOf(edgeUrl, { url: () => address });
    const download = file.download();
    await expect.poll(() => requests.length).toBeGreaterThan(2);
    address = "/new";
    expect((await download).equals(CONTENT)).toBe(true);
  });

  test("only by a proxy in between is asked for again, for a short time (W4a)", async () => {
    const { edgeUrl } = await serve(refuse(404, null), refuse(502, null), refuse(404, null), whole);
    expect((await fileOf(edgeUrl).file.download()).equals(CONTENT)).toBe(true);
    const gone = await serve(refuse(404, null));
    const failure = await failureOf(fileOf(gone.edgeUrl).file.download());
    expect(failure.message).toContain("the edge answered with status 404.");
  });
});

test("an empty file comes, also after a failure", async () => {
  const empty: Answer = (_request, response) => response.writeHead(200).end();
  const { edgeUrl } = await serve(refuse(503, "restarting"), empty);
  const sha256 = createHash("sha256").digest("hex");
  expect(await fileOf(edgeUrl, { size: 0, sha256 }).file.download()).toHaveLength(0);
});
