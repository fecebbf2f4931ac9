import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import type { JobResource, Problem } from "../../src/protocol/resources.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const run = promisify(execFile);
let jobs: string;

beforeAll(async () => {
  const { name } = await edge.makeSpace({ offline: "queue", enable_file_upload: true });
  jobs = `${edge.url}/api/spaces/${name}/jobs`;
});

async function curl<T = JobResource>(...args: string[]): Promise<T> {
  const { stdout } = await run("curl", ["-sS", jobs, ...args]);
  return JSON.parse(stdout) as T;
}

async function fileNamed(name: string, content: string | Uint8Array): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "forms-test-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

/** Runs a line of shell, with the address of the jobs in `$JOBS`. */
function shell(line: string): Promise<string> {
  const child = spawn("sh", ["-c", line], { env: { ...process.env, JOBS: jobs } });
  let written = "";
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    written += piece;
  });
  return new Promise((resolve) => child.on("close", () => resolve(written)));
}

describe("a form that curl sends", () => {
  it("has its texts, its files with their names and types, and every field (H6)", async () => {
    const image = await fileNamed("größe 1.png", "pixels");
    const json = await fileNamed("input.json", '{"steps": 30, "seed": 18446744073709551615}');
    const job = await curl(
      ...["-F", "prompt=a cat", "-F", "__proto__=x", "-F", "tag=a", "-F", "tag=b"],
      ...["-F", `image=@${image}`],
      ...["-F", `image=@${image};type=audio/webm\\;codecs=opus;filename=C:\\me\\b "2".webm`],
      ...["-F", `input=@${json};type=application/json`, "-F", "priority=5"],
    );
    expect(job).toMatchObject({
      input: { prompt: "a cat", tag: ["a", "b"], steps: 30 },
      priority: 5,
      files: [
        { field: "image", name: "größe 1.png", content_type: "image/png", size: 6 },
        { field: "image", name: 'b "2".webm', size: 6 },
      ],
    });
    expect(Object.keys(job.input)).toContain("__proto__");
    const chunked = await curl("-H", "transfer-encoding: chunked", "-F", `image=@${image}`);
    expect(chunked).toMatchObject({ files: [{ size: 6 }] });
    expect(await shell(`curl -s "$JOBS" -F 'input=@${json};type=application/json'`)).toContain(
      '"seed":18446744073709551615',
    );
  });

  it("may be compressed, like JSON (H2a)", async () => {
    const submit = `gzip | curl -s "$JOBS" -H 'content-encoding: gzip' --data-binary @-`;
    const json = await shell(
      `printf '{"input":{"n":1}}' | ${submit} -H 'content-type: application/json'`,
    );
    expect(JSON.parse(json)).toMatchObject({ input: { n: 1 } });
    const form = String.raw`--b\r\nContent-Disposition: form-data; name=prompt\r\n\r\na cat\r\n--b--\r\n`;
    const type = "-H 'content-type: multipart/form-data; boundary=b'";
    const answer = await shell(`printf %b '${form}' | ${submit} ${type}`);
    expect(JSON.parse(answer)).toMatchObject({ input: { prompt: "a cat" } });
  });

  it("that is no form or no known compression is answered with what to send (H2b, H3)", async () => {
    const plain = await curl<Problem>("-d", '{"input":{}}');
    expect(plain).toMatchObject({ status: 415, detail: expect.stringContaining("Content-Type") });
    const headers = ["-H", "content-type: application/json", "-H", "content-encoding: br"];
    const { stdout } = await run("curl", ["-sSi", jobs, ...headers, "-d", "{}"]);
    expect(stdout).toMatch(/^HTTP\/1\.1 415/);
    expect(stdout).toMatch(/^accept-encoding: gzip, deflate\r$/im);
  });

  it("that would become gigabytes is refused, and the edge goes on (H2c)", async () => {
    const member = gzipSync(new Uint8Array(64 * 1_048_576), { level: 9 });
    const bomb = await fileNamed(
      "bomb.gz",
      Buffer.concat(Array.from({ length: 64 }, () => member)),
    );
    const headers = ["-H", "content-encoding: gzip", "-H", "content-type: application/json"];
    const refused = await curl<Problem>(...headers, "--data-binary", `@${bomb}`);
    expect(refused).toMatchObject({ status: 413, code: "payload_too_large" });
    expect(await curl("-F", "prompt=still here")).toMatchObject({ status: "queued" });
  });
});

describe("a body that ends before its declared length", () => {
  it("makes no job, and the edge goes on (H3)", async () => {
    const { hostname, port, pathname } = new URL(jobs);
    const socket = connect(Number(port), hostname);
    const head = `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-length: 900\r\ncontent-type: application/json\r\n\r\n`;
    socket.end(`${head}{"input":{}}`);
    const closed = new Promise((resolve) => socket.on("close", resolve).on("error", () => {}));
    socket.resume();
    await closed;
    expect(await curl("-F", "prompt=still here")).toMatchObject({ status: "queued" });
  });
});
