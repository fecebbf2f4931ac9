/**
 * A worker in one small file, to show that the conformance suite finds what is wrong with a worker: `BREAK` names what
 * this one does wrong.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";
import type { PlantedFault } from "./planted-faults.ts";

type Frame = { type: string; job_id: string; attempt: number; [field: string]: unknown };
type Task = Record<string, unknown>;
interface Held {
  ref: { job_id: string; attempt: number };
  outputs: string[];
  progress: string | null;
  end: string | null;
  isCanceled: boolean;
  files: { url: string; name: string }[];
  uploads: string | null;
}

const {
  DIALOUT_URL: base = "",
  DIALOUT_TOKEN: token = "",
  DIALOUT_SPACE: space = "",
} = process.env;
const breaks = (fault: PlantedFault) => process.env.BREAK === fault;
const FINAL_CODES = [1000, 1008, 1009, 4400, 4401, 4403, 4404, 4409];
const FINAL_STATUSES = [401, 403, 404, 409, 426];
const held = new Map<string, Held>();
/** Attempts that the fault keeps listing. */
const acknowledged: Held["ref"][] = [];
const newId = () => `tiny-${Math.random().toString(36).slice(2)}`;
const ownId = newId();
let socket: WebSocket | null = null;
let isRegistered = false;
let isDraining = false;
let isToldOfDrain = false;
let maxBytes = 1_048_576;
let failures = 0;
let closesItself = false;
let pings = 0;
let heardAt = 0;
let beats: NodeJS.Timeout | undefined;

const keyOf = ({ job_id, attempt }: Held["ref"]) => `${job_id}#${attempt}`;

function send(text: string): void {
  if (isRegistered && socket?.readyState === WebSocket.OPEN) socket.send(text);
}

function dial(): void {
  const address = `${base.replace("http", "ws")}/api/spaces/${space}/connect`;
  const headers: Record<string, string> = breaks("dials without its token")
    ? {}
    : { authorization: `Bearer ${token}` };
  const dialed = new WebSocket(address, { headers, followRedirects: breaks("follows a redirect") });
  socket = dialed;
  let isFinal = false;
  dialed.on("message", (data) => onMessage(data.toString()));
  dialed.on("unexpected-response", async (_, response) => {
    let body = "";
    for await (const piece of response) body += piece;
    const isProblem = String(response.headers["content-type"]).includes("problem+json");
    console.error(body);
    const status = response.statusCode ?? 0;
    isFinal = isProblem && FINAL_STATUSES.includes(status) && !breaks("dials after a 401");
    dialed.terminate();
  });
  dialed.on("error", () => {});
  dialed.on("close", async (code) => {
    clearInterval(beats);
    failures = isRegistered ? 0 : failures + 1;
    isRegistered = false;
    const mayDial = closesItself || breaks("dials after any close") || !FINAL_CODES.includes(code);
    if (isFinal || isDone() || !mayDial) process.exit(isFinal ? 1 : 0);
    const bound = Math.min(10_000, 1_000 * 2 ** failures);
    await pause(breaks("dials at once") ? 0 : Math.random() * bound);
    dial();
  });
}

function isDone(): boolean {
  return isDraining && held.size === 0;
}

function onMessage(text: string): void {
  heardAt = performance.now();
  if (text === "pong") {
    pings -= 1;
    if (breaks("ends on a pong too many") && pings < 0) process.exit(1);
    return;
  }
  let frame: Frame;
  try {
    frame = JSON.parse(text);
  } catch {
    if (breaks("ends on bad JSON")) process.exit(1);
    return;
  }
  if (typeof frame !== "object" || frame === null) return;
  onFrame(frame);
}

function onFrame(frame: Frame): void {
  const { job_id, attempt, type } = frame;
  const job = held.get(keyOf({ job_id, attempt }));
  if (type === "hello") register(frame);
  else if (type === "registered") onRegistered(frame);
  else if (type === "job") onJob(frame);
  else if (type === "ack") forget(job);
  else if (type === "stale") {
    if (!breaks("goes on after stale")) forget(job);
  } else if (type === "cancel") onCancel(frame, job);
  else if (type === "drain" && breaks("leaves with a drain of the edge")) process.exit(0);
  else if (type === "error" && frame.code === "no_such_file" && !breaks("names missing files")) {
    if (job) job.outputs = job.outputs.filter((text) => JSON.parse(text).file !== frame.file);
  } else if (type === "read_check" && !breaks("answers no read checks"))
    send(JSON.stringify(frame));
  else if (breaks("ends on unknown frames") && type === "weather") process.exit(1);
}

function register(hello: Frame): void {
  if (hello.protocol !== "dialout.worker.v1" && !breaks("registers with any protocol")) {
    socket?.terminate();
    return;
  }
  maxBytes = Number(hello.max_frame_bytes);
  if (breaks("speaks before register")) socket?.send('{"type":"load","load":0}');
  const resume = [...[...held.values()].map(({ ref }) => ref), ...acknowledged];
  const schema = breaks("has a schema of lists")
    ? { input: { type: "array" } }
    : { input: { type: "object" } };
  const worker_id = breaks("changes its id") ? newId() : ownId;
  socket?.send(JSON.stringify({ type: "register", worker_id, resume, schema }));
  const heartbeatMs = Number(hello.heartbeat_s) * 1_000;
  const leaseMs = Number(hello.lease_s) * 1_000;
  heardAt = performance.now();
  beats = setInterval(() => {
    if (performance.now() - heardAt > leaseMs && !breaks("keeps a silent connection")) {
      if (breaks("closes with 1000")) {
        closesItself = true;
        socket?.close(1000);
      } else socket?.terminate();
    } else if (breaks("pings as WebSocket does")) socket?.ping();
    else {
      pings += 1;
      socket?.send("ping");
    }
  }, heartbeatMs);
}

function onRegistered(frame: Frame): void {
  isRegistered = true;
  if (isDraining && !(breaks("drains once") && isToldOfDrain)) sendDrain();
  const resumed = frame.resumed as {
    job_id: string;
    attempt: number;
    outputs: number;
    file_urls?: string[];
  }[];
  for (const job of [...held.values()]) {
    const entry = resumed.find((other) => keyOf(other) === keyOf(job.ref));
    if (entry === undefined) {
      if (!breaks("goes on after dropped")) forget(job);
      continue;
    }
    for (const [index, url] of (entry.file_urls ?? []).entries()) {
      const file = job.files[index];
      if (file !== undefined) file.url = url;
    }
    const from = breaks("sends all outputs again") ? 0 : entry.outputs;
    for (const output of job.outputs.slice(from)) send(output);
    if (breaks("forgets sent outputs")) job.outputs.fill('{"type":"sending","bytes":0}');
    if (job.progress !== null) send(job.progress);
    if (job.end !== null && !breaks("sends an end once")) send(job.end);
  }
}

function sendDrain(): void {
  isToldOfDrain = true;
  send('{"type":"drain","reason":"stopping"}');
}

function forget(job: Held | undefined): void {
  if (job === undefined) return;
  if (breaks("lists what was acknowledged")) acknowledged.push(job.ref);
  job.isCanceled = true;
  held.delete(keyOf(job.ref));
  if (isDone()) socket?.close(1000);
}

function onJob(frame: Frame): void {
  const ref = { job_id: frame.job_id, attempt: frame.attempt };
  if (breaks("wants known fields only") && "from_the_future" in frame) process.exit(1);
  if (!breaks("accepts nothing")) send(JSON.stringify({ type: "accept", ...ref }));
  if (held.has(keyOf(ref)) && !breaks("runs a job twice")) return;
  const files = (frame.files as Held["files"]).map((file) => ({ ...file }));
  const uploads = (frame.outputs as { url?: string } | undefined)?.url ?? null;
  const job: Held = {
    ref,
    outputs: [],
    progress: null,
    end: null,
    isCanceled: false,
    files,
    uploads,
  };
  held.set(keyOf(ref), job);
  if (breaks("ends jobs at their deadline")) {
    const ms = Date.parse(String(frame.deadline)) - Date.now();
    setTimeout(() => end(job, { type: "fail", ...ref, code: "timeout", message: "Late." }), ms);
  }
  void run(job, frame.input as Task);
}

function onCancel(frame: Frame, job: Held | undefined): void {
  if (breaks("ignores cancels")) return;
  const ref = { job_id: frame.job_id, attempt: frame.attempt };
  if (job === undefined && breaks("answers cancels of its own jobs only")) return;
  if (job?.end) return;
  if (job !== undefined) job.isCanceled = true;
  const answer = JSON.stringify({ type: "fail", ...ref, code: "canceled", message: "Stopped." });
  if (job !== undefined) job.end = answer;
  send(answer);
}

async function run(job: Held, task: Task): Promise<void> {
  try {
    end(job, { type: "result", ...job.ref, output: await perform(job, task) });
  } catch (error) {
    const message = breaks("keeps reasons for itself") ? "It failed." : (error as Error).message;
    const retryable = task.retryable === true;
    end(job, { type: "fail", ...job.ref, code: "worker_error", message, retryable });
  }
}

function end(job: Held, frame: object): void {
  if (job.isCanceled || job.end !== null) return;
  let text = JSON.stringify(frame);
  if (Buffer.byteLength(text) > maxBytes && !breaks("sends frames of any size")) {
    const message = "The result is too large.";
    text = JSON.stringify({ type: "fail", ...job.ref, code: "worker_error", message });
  }
  job.end = text;
  send(breaks("sends batches unasked") ? `{"type":"batch","frames":[${text}]}` : text);
}

async function perform(job: Held, task: Task): Promise<unknown> {
  if ("echo" in task) return task.echo;
  if ("sleep_s" in task) await sleep(job, Number(task.sleep_s));
  else if ("block_s" in task) await pause(Number(task.block_s) * 1_000);
  else if ("pieces" in task) return stream(job, task);
  else if ("hash" in task) return Promise.all(job.files.map((file) => hash(job, file)));
  else if ("write" in task) for (const file of task.write as Output[]) await upload(job, file);
  else throw new Error(String(task.fail));
  return "done";
}

async function sleep(job: Held, seconds: number): Promise<void> {
  const until = performance.now() + seconds * 1_000;
  while (!job.isCanceled && performance.now() < until) await pause(20);
}

async function stream(job: Held, task: Task): Promise<unknown> {
  for (let number = 0; number < Number(task.pieces) && !job.isCanceled; number += 1) {
    const delta = "size" in task ? "x".repeat(Number(task.size)) : number;
    const output = JSON.stringify({ type: "output", ...job.ref, delta });
    job.outputs.push(output);
    send(output);
    const progress = breaks("counts to 300 percent") ? 300 : 100;
    job.progress = JSON.stringify({ type: "progress", ...job.ref, progress });
    send(job.progress);
    await sleep(job, Number(task.pause_s ?? 0));
  }
  return task.pieces;
}

async function hash(job: Held, file: Held["files"][number]): Promise<string> {
  const headers: Record<string, string> = breaks("sends its token for files")
    ? { authorization: `Bearer ${token}` }
    : {};
  while (!job.isCanceled) {
    try {
      const answer = await fetch(file.url, { headers });
      if (answer.ok) {
        const content = Buffer.from(await answer.arrayBuffer());
        if (breaks("saves files by their name")) writeFileSync(file.name, content);
        return createHash("sha256").update(content).digest("hex");
      }
    } catch {
      // It broke off.
    }
    await pause(200);
  }
  throw new Error("canceled");
}

interface Output {
  name: string;
  text: string;
}

async function upload(job: Held, { name, text }: Output): Promise<void> {
  const url = job.uploads?.replace("{name}", encodeURIComponent(name));
  if (url === undefined) throw new Error("There is no address for output files.");
  const tell = () => {
    const output = JSON.stringify({ type: "output", ...job.ref, file: name });
    job.outputs.push(output);
    send(output);
  };
  for (let isStored = false; !isStored; ) {
    const answer = await fetch(url, { method: "PUT", body: text }).catch(() => null);
    isStored = answer?.ok ?? breaks("uploads once");
    await pause(50);
  }
  tell();
}

process.on("SIGTERM", () => {
  isDraining = true;
  sendDrain();
  if (isDone()) socket?.close(1000);
});
dial();
