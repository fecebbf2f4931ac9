/**
 * The worker that the suite tries for the TypeScript library: what a worker in another language has to do for the
 * suite's jobs, docs/conformance.md says in words.
 */
import { createHash } from "node:crypto";
import { type Job, JobFailure, type Json, type JsonObject, RemoteWorker } from "../index.ts";
import { pause } from "../pause.ts";

async function perform(job: Job): Promise<Json | undefined> {
  const { input } = job;
  if ("echo" in input) return input.echo ?? null;
  if ("sleep_s" in input) return sleep(job, secondsOf(input.sleep_s));
  if ("block_s" in input) return block(secondsOf(input.block_s));
  if ("pieces" in input) return stream(job, input);
  if ("hash" in input) return hashFiles(job);
  if (Array.isArray(input.write)) return writeFiles(job, input.write);
  if (typeof input.fail === "string") {
    throw new JobFailure("worker_error", input.fail, input.retryable === true);
  }
  throw new JobFailure("worker_error", "This worker doesn't know the test job.");
}

async function sleep(job: Job, seconds: number): Promise<Json> {
  await pause(seconds * 1_000, job.signal);
  return "slept";
}

/** Works without looking at anything. */
async function block(seconds: number): Promise<Json> {
  await pause(seconds * 1_000);
  return "done";
}

async function stream(job: Job, { pieces, pause_s: pauseS, size }: JsonObject): Promise<Json> {
  const count = secondsOf(pieces);
  for (let number = 0; number < count; number += 1) {
    job.output(typeof size === "number" ? "x".repeat(size) : number);
    job.progress((100 * (number + 1)) / count, `piece ${number + 1}`);
    if (pauseS !== undefined) await pause(secondsOf(pauseS) * 1_000, job.signal);
  }
  return count;
}

async function hashFiles(job: Job): Promise<Json> {
  const digests: string[] = [];
  for (const file of job.files) {
    digests.push(
      createHash("sha256")
        .update(await file.download())
        .digest("hex"),
    );
  }
  return digests;
}

async function writeFiles(job: Job, files: Json[]): Promise<Json> {
  for (const file of files) {
    const { name, text } = Object(file) as JsonObject;
    await job.file(String(name), new TextEncoder().encode(String(text)));
  }
  return files.length;
}

function secondsOf(value: Json | undefined): number {
  return typeof value === "number" ? value : 0;
}

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is missing`);
  return value;
}

const print = (line: string) => void process.stderr.write(`${line}\n`);
const worker = new RemoteWorker({
  url: setting("DIALOUT_URL"),
  space: setting("DIALOUT_SPACE"),
  token: setting("DIALOUT_TOKEN"),
  handler: perform,
  waitForPlace: true,
  log: { debug: () => {}, info: print, warn: print, error: print },
});
process.once("SIGTERM", () => void worker.drain("SIGTERM").catch(() => {}));
try {
  await worker.run();
} catch (error) {
  print(String(error));
  process.exitCode = 1;
}
