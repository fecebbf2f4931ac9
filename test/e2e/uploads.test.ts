import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Upload, type UploadOptions } from "tus-js-client";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { DialoutClient } from "../../src/client/index.ts";
import type { JobResource } from "../../src/protocol/resources.ts";
import type { Job } from "../../worker-client/job.ts";
import { RemoteWorker } from "../../worker-client/remote-worker.ts";
import { someBytes } from "../support/memory-bucket.ts";
import { Network } from "../support/network.ts";
import { EdgeClient } from "./client.ts";

const run = promisify(execFile);
const edge = new EdgeClient(inject("edgeUrl"));
const BYTES = someBytes(20_000_000);
const SHA256 = createHash("sha256").update(BYTES).digest("hex");
let space: { name: string; token: string };
let worker: RemoteWorker;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "uploads-test-"));
  space = await edge.makeSpace({ enable_file_upload: true, offline: "queue" });
  worker = new RemoteWorker({
    url: edge.url,
    space: space.name,
    token: space.token,
    handler: hashed,
  });
  void worker.run();
  return async () => {
    worker.stop();
    await rm(folder, { recursive: true });
  };
});

/** The checksum of the job's file as it lies on the worker's disk. */
async function hashed({ id, files }: Job): Promise<string> {
  const path = join(folder, id);
  await files[0]?.save(path);
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest("hex");
}

/** The checksum that the worker finds for the file of this job. */
async function seenByWorker(id: string): Promise<unknown> {
  return (await edge.ended(id)).result;
}

/** Submits a job with this upload. */
async function submit(upload: string): Promise<string> {
  const body = { input: {}, files: [{ field: "image", upload }] };
  const answer = await edge.call("POST", `/api/spaces/${space.name}/jobs`, body);
  if (answer.status !== 202) throw new Error(await answer.text());
  return ((await answer.json()) as JobResource).id;
}

function idOf(url: string | null): string {
  return url?.split("/").at(-1) ?? "";
}

/** Uploads with tus-js-client; it is aborted once so many bytes were sent, and goes on then. */
function uploadWithTus(options: UploadOptions, abortAt = Number.POSITIVE_INFINITY) {
  return new Promise<Upload>((resolve, reject) => {
    let isAborted = false;
    const upload: Upload = new Upload(Buffer.from(BYTES), {
      endpoint: `${edge.url}/api/uploads`,
      retryDelays: [0, 1_000, 3_000, 5_000],
      metadata: { space: space.name, filename: "größe.bin", filetype: "application/x-test" },
      onError: reject,
      onSuccess: () => resolve(upload),
      onProgress: (sent) => {
        if (isAborted || sent < abortAt) return;
        isAborted = true;
        upload.abort().then(() => upload.start(), reject);
      },
      ...options,
    });
    upload.start();
  });
}

describe("an upload by tus-js-client", () => {
  it.each([
    ["in one request", {}],
    ["in requests that end anywhere", { chunkSize: 3_000_000 }],
    ["in requests of a part each", { chunkSize: 8_388_608 }],
    ["with its creation", { chunkSize: 7_000_000, uploadDataDuringCreation: true }],
    ["by POST alone", { chunkSize: 9_000_000, overridePatchMethod: true }],
  ])("%s gives the worker every byte (H30)", async (_, options) => {
    const { url } = await uploadWithTus(options);
    expect(await seenByWorker(await submit(idOf(url)))).toBe(SHA256);
  });

  it("that is aborted in the middle of a request goes on where it was (H30c)", async () => {
    const { url } = await uploadWithTus({}, 9_500_000);
    expect(await seenByWorker(await submit(idOf(url)))).toBe(SHA256);
  });
});

describe("an upload by curl", () => {
  it("is made, sent in two pieces, asked for and submitted (H30)", async () => {
    const [one, two] = [join(folder, "one"), join(folder, "two")];
    await writeFile(one, BYTES.subarray(0, 9_000_000));
    await writeFile(two, BYTES.subarray(9_000_000));
    const tus = ["-sS", "-D", "-", "-H", "Tus-Resumable: 1.0.0"];
    const made = await run("curl", [
      ...[...tus, "-X", "POST", `${edge.url}/api/uploads`],
      ...["-H", `Upload-Length: ${BYTES.length}`],
      ...["-H", `Upload-Metadata: space ${btoa(space.name)},filename ${btoa("a.bin")}`],
    ]);
    const location = /^location: (\S+)/im.exec(made.stdout)?.[1] ?? "";
    const url = `${edge.url}${location}`;
    for (const [offset, path] of [
      [0, one],
      [9_000_000, two],
    ] as const) {
      const type = ["-H", "Content-Type: application/offset+octet-stream"];
      const at = ["-H", `Upload-Offset: ${offset}`, "--data-binary", `@${path}`];
      const sent = await run("curl", [...tus, "-X", "PATCH", ...type, ...at, url]);
      expect(sent.stdout).toMatch(/ 204 /);
      const asked = await run("curl", ["-sS", "-I", "-H", "Tus-Resumable: 1.0.0", url]);
      expect(asked.stdout).toMatch(/upload-offset: (9000000|20000000)/i);
    }
    expect(await seenByWorker(await submit(idOf(location)))).toBe(SHA256);
  });
});

describe("an upload by the client library", () => {
  it("goes on after connections that break anywhere, and gives the worker every byte (H30c)", async () => {
    const network = await Network.start(edge.url);
    onTestFinished(() => network.close());
    network.set({ bytesPerS: 8_000_000 });
    const client = new DialoutClient({ url: network.url });
    onTestFinished(() => client.close());
    const offsets: number[] = [];
    const breaks = setInterval(() => network.reset(), 700);
    onTestFinished(() => clearInterval(breaks));
    const handle = client.space(space.name);
    const uploaded = await handle.upload(new Blob([BYTES]), {
      name: "a.bin",
      onProgress: ({ sent }) => offsets.push(sent),
    });
    clearInterval(breaks);
    expect(offsets).toEqual(offsets.toSorted((one, other) => one - other));
    expect(offsets.at(-1)).toBe(BYTES.length);
    const job = await handle.submit({}, { files: { image: uploaded } });
    expect(await seenByWorker(job.id)).toBe(SHA256);
  });

  it("is what large files of a submit become by themselves (H30f)", async () => {
    const client = new DialoutClient({ url: edge.url });
    onTestFinished(() => client.close());
    const image = new File([BYTES], "größe.bin", { type: "application/x-test" });
    const job = await client.space(space.name).submit({}, { files: { image } });
    expect((await job.get()) as JobResource).toMatchObject({
      files: [{ field: "image", name: "größe.bin", content_type: "application/x-test" }],
    });
    expect(await seenByWorker(job.id)).toBe(SHA256);
  });

  it("that was given up goes on from its id, and is refused where the space takes no files (H30a)", async () => {
    const client = new DialoutClient({ url: edge.url });
    onTestFinished(() => client.close());
    const stop = new AbortController();
    let id = "";
    const broken = client.space(space.name).upload(new Blob([BYTES]), {
      signal: stop.signal,
      onProgress: ({ sent, upload }) => {
        id = upload;
        if (sent > 0) stop.abort(new Error("enough"));
      },
    });
    await expect(broken).rejects.toThrow("enough");
    const offsets: number[] = [];
    const uploaded = await client.space(space.name).upload(new Blob([BYTES]), {
      resume: id,
      onProgress: ({ sent }) => offsets.push(sent),
    });
    expect(offsets[0]).toBeGreaterThan(0);
    expect(uploaded.upload).toBe(id);
    const refused = client.space(space.name).upload(new Blob(["x"]), { field: "audio" });
    await expect(refused).rejects.toMatchObject({ code: "audio_not_enabled" });
  });
});
