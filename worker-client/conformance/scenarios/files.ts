import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { refOf } from "../frames.ts";
import type { Scenario, Trial } from "../trial.ts";

const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
/** A correct client may try some times, with a back-off, before it gives a file up; milliseconds. */
const GIVEN_UP_MS = 45_000;

/** A file of a job, served under a signed address. */
class ServedFile {
  readonly content: Buffer;
  readonly requests: IncomingMessage[] = [];
  readonly path: string;
  /** The next answer breaks off after so many bytes. */
  cutAfter: number | null = null;
  isExpired = false;

  constructor(trial: Trial, bytes: number) {
    this.content = randomBytes(bytes);
    this.path = `/api/files/${randomBytes(6).toString("hex")}?expires=1&signature=s`;
    trial.edge.routes.set(this.path, (request, response) => this.#answer(request, response));
  }

  entry(trial: Trial, name: string, digest = sha256(this.content)) {
    const url = `${trial.edge.url}${this.path}`;
    const size = this.content.length;
    return { field: "file", name, content_type: "image/png", size, sha256: digest, url };
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request);
    if (this.isExpired) {
      const detail = "This address has expired.";
      response.writeHead(403, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ status: 403, code: "not_allowed", detail }));
      return;
    }
    const size = this.content.length;
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? Number.NaN);
    const isPart = start < size;
    const body = isPart ? this.content.subarray(start) : this.content;
    response.writeHead(isPart ? 206 : 200, {
      "content-type": "application/octet-stream",
      "content-length": body.length,
      "accept-ranges": "bytes",
      etag: '"one"',
      ...(isPart ? { "content-range": `bytes ${start}-${size - 1}/${size}` } : {}),
    });
    const cut = this.cutAfter;
    this.cutAfter = null;
    if (cut === null) response.end(body);
    else response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 50));
  }
}

const filesIn: Scenario = {
  name: "files of a job",
  rules: ["W14", "W13", "W14f"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const mark = `dialout-conformance-${randomBytes(6).toString("hex")}`;
    const first = new ServedFile(trial, 20_000);
    const second = new ServedFile(trial, 400_000);
    second.cutAfter = 150_000;
    const files = [
      first.entry(trial, `../../../../../../../..${join(tmpdir(), mark)}`),
      second.entry(trial, join(tmpdir(), mark)),
    ];
    const job = socket.dispatch({ hash: true }, { files });
    const end = await socket.end(job, "W14", 3 * trial.patienceMs);
    const expected = JSON.stringify([first, second].map(({ content }) => sha256(content)));
    const got = JSON.stringify(end.output ?? end.message ?? null);
    trial.require("W14", got === expected, `the checksums of two files were ${got}`);
    const headers = [...first.requests, ...second.requests].map((request) => request.headers);
    const isSent = headers.some(({ authorization }) => authorization !== undefined);
    trial.check("W14", !isSent, "a file was fetched with an `Authorization` header");
    const path = join(tmpdir(), mark);
    trial.check("W13", !existsSync(path), "a file was written where its name led to");
    await rm(path, { force: true });
    const isResumed = second.requests.some((request) => request.headers.range !== undefined);
    trial.check("W14f", isResumed, "a download that broke was begun again from its start");
  },
};

const otherChecksum: Scenario = {
  name: "a file with another checksum",
  rules: ["W14b"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const file = new ServedFile(trial, 1_000);
    const entry = file.entry(trial, "a.bin", sha256(Buffer.from("another")));
    const job = socket.dispatch({ hash: true }, { files: [entry] });
    const end = await socket.end(job, "W14b", GIVEN_UP_MS);
    trial.check("W14b", end.type !== "result", "a file with another checksum was taken");
  },
};

const newAddress: Scenario = {
  name: "a file whose address has expired",
  rules: ["W26c"],
  async run(trial) {
    const { socket } = await trial.connect("W6");
    const file = new ServedFile(trial, 1_000);
    const expired = new ServedFile(trial, 1_000);
    expired.isExpired = true;
    const entry = { ...file.entry(trial, "a.bin"), url: expired.entry(trial, "a.bin").url };
    const job = socket.dispatch({ hash: true }, { files: [entry] });
    await trial.edge.untilTrue(() => expired.requests.length > 0, trial.patienceMs);
    socket.drop();
    const renewed = { deadline: job.deadline, file_urls: [file.entry(trial, "a.bin").url] };
    const resumed = [{ ...refOf(job), outputs: 0, ...renewed }];
    const { socket: second } = await trial.connect("W25", {}, { resumed });
    const end = await second.end(job, "W26c", GIVEN_UP_MS);
    const got = JSON.stringify(end.output ?? end.message ?? null);
    trial.check("W26c", got.includes(sha256(file.content)), `the download ended with ${got}`);
    second.ack(job, end);
    await pause(100);
  },
};

export const FILES = [filesIn, otherChecksum, newAddress] as const satisfies readonly Scenario[];
