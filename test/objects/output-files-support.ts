import { env, exports } from "cloudflare:workers";
import { createHash } from "node:crypto";
import type { OutputFile, UploadedFile } from "../../src/protocol/output-files.ts";
import { uploadUrl } from "../../src/protocol/output-files.ts";
import type { SpaceSettings } from "../../src/protocol/resources.ts";
import {
  call,
  connectWorker,
  expectStatus,
  type Frame,
  makeSpace,
  type NamedSpace,
  submit,
  type TestSocket,
} from "./support.ts";

/** The smallest PNG. */
export const PNG = Uint8Array.from(
  Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "base64",
  ),
);

export function digestOf(content: Uint8Array | string): string {
  return `sha-256=:${createHash("sha256").update(content).digest("base64")}:`;
}

/** Sends a file to the address in a `job` frame. */
export function put(
  job: Frame,
  name: string,
  content: Uint8Array<ArrayBuffer> | string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const { url } = job.outputs as { url: string };
  return putTo(uploadUrl(url, name), content, headers);
}

export function putTo(
  url: string,
  content: Uint8Array<ArrayBuffer> | string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const length = String(Buffer.byteLength(content));
  return exports.default.fetch(url, {
    method: "PUT",
    body: content,
    headers: { "content-length": length, ...headers },
  });
}

/** Sends a file that must be taken. */
export async function send(job: Frame, name: string, content: Uint8Array<ArrayBuffer> | string) {
  const answer = await expectStatus(201, await put(job, name, content));
  return answer.json<UploadedFile>();
}

/** A space with a worker that has begun a job. */
export async function startJob(settings: Partial<SpaceSettings> = {}) {
  const space = await makeSpace({ offline: "queue", ...settings });
  const { socket: worker } = await connectWorker(space, { sends_files: true });
  const { id } = await submit(space.name);
  const job = await worker.next("job");
  return { space, worker, id, job };
}

/** Frames of a worker about an attempt. */
export function framesFor({ job_id, attempt }: Frame) {
  const about = { job_id, attempt };
  return {
    file: (file: string, preview = false) => ({
      type: "output",
      ...about,
      file,
      ...(preview ? { preview } : {}),
    }),
    output: (delta: unknown) => ({ type: "output", ...about, delta }),
    result: (output: unknown = null, files?: string[]) => ({
      type: "result",
      ...about,
      output,
      files,
    }),
    fail: (retryable: boolean) => ({
      type: "fail",
      ...about,
      code: "worker_error",
      message: "no",
      retryable,
    }),
  };
}

/** Ends a job and waits for the `ack`. */
export async function end(worker: TestSocket, frame: object): Promise<void> {
  worker.send(frame);
  await worker.next("ack");
}

export async function jobOf(id: string) {
  const answer = await expectStatus(200, await call("GET", `/api/jobs/${id}`));
  return answer.json<{
    status: string;
    outputs: OutputFile[];
    output: unknown;
    error: { code: string; message: string } | null;
  }>();
}

export async function outputKeys({ name }: NamedSpace): Promise<string[]> {
  const { objects } = await env.FILES.list({ prefix: `spaces/${name}/outputs/` });
  return objects.map(({ key }) => key);
}
