import { Hono } from "hono";
import { LIMITS } from "../protocol/limits.ts";
import { type JobResource, jobResource, listJobsQuery } from "../protocol/resources.ts";
import { serverFrame } from "../protocol/subscriber-frames.ts";
import type { Caller } from "../space/space-object.ts";
import {
  type AppContext,
  type AppEnv,
  ask,
  askOfJob,
  callerOf,
  jobParam,
  jsonText,
  requireOperator,
  spaceParam,
} from "./context.ts";
import { followJob } from "./follow.ts";
import { checked } from "./problems.ts";
import { submitJob } from "./submit.ts";

/** `/api/spaces/:space/jobs`. */
export const spaceJobs = new Hono<AppEnv>()
  .post("/", async (c) => {
    const caller = callerOf(c);
    const space = spaceParam(c);
    const text = await submitJob(c, space, caller);
    const job = jobResource.parse(JSON.parse(text));
    c.header("location", job.urls.self);
    const seconds = preferredWait(c.req.header("prefer"));
    if (seconds === null) return jsonText(c, text, 202);
    c.header("preference-applied", `wait=${seconds}`);
    return answerAtEnd(c, job, caller, Date.now() + seconds * 1_000);
  })
  .get("/", async (c) => {
    const caller = requireOperator(c);
    const space = spaceParam(c);
    const { cursor, ...filter } = checked(listJobsQuery, c.req.query());
    const before = cursor?.split(".").at(-1);
    return jsonText(c, await ask(c, space, (stub) => stub.jobs(caller, { ...filter, before })));
  });

/** `/api/jobs/:job`. The id has 80 random bits: whoever knows it may see and cancel the job. */
export const jobs = new Hono<AppEnv>()
  .get("/:job", async (c) => {
    const caller = callerOf(c);
    const { space, ulid } = jobParam(c);
    return jsonText(c, await askOfJob(c, space, (stub) => stub.job(caller, ulid)));
  })
  .post("/:job/cancel", async (c) => {
    const caller = callerOf(c);
    const { space, ulid } = jobParam(c);
    const reason = "Canceled by a call.";
    return jsonText(c, await askOfJob(c, space, (stub) => stub.cancel(caller, ulid, reason)));
  })
  .get("/:job/events", (c) => jobEvents(c));

/** `Prefer: wait` and `wait=N`, seconds; `null` where it asks for no wait. */
export function preferredWait(prefer: string | undefined): number | null {
  const match = /(?:^|,)\s*wait(?:\s*=\s*(\d{1,6}))?\s*(?:,|;|$)/i.exec(prefer ?? "");
  if (!match) return null;
  return Math.min(
    match[1] === undefined ? LIMITS.waitSeconds : Number(match[1]),
    LIMITS.waitSeconds,
  );
}

function ulidOf(job: JobResource): string {
  return job.id.slice(job.space.length + 1);
}

/** Answers with the ended job, or with the job as it is once the wait is over. */
async function answerAtEnd(
  c: AppContext,
  job: JobResource,
  caller: Caller,
  until: number,
): Promise<Response> {
  for (;;) {
    await waitForEnd(c, job, caller.operator, until - Date.now());
    const text = await ask(c, job.space, (stub) => stub.job(caller, ulidOf(job)));
    const ended = jobResource.parse(JSON.parse(text)).completed_at !== null;
    // A socket may also close because the object started again.
    if (ended || Date.now() >= until) return jsonText(c, text, ended ? 200 : 202);
  }
}

/** Resolves when the job's socket closes, or after `ms` milliseconds. */
async function waitForEnd(
  c: AppContext,
  job: JobResource,
  operator: boolean,
  ms: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = await followJob(
    c,
    { space: job.space, ulid: ulidOf(job) },
    { operator, onFrame: () => undefined, onEnd: resolve },
  );
  const timer = setTimeout(resolve, ms);
  await promise;
  clearTimeout(timer);
  stop();
}

/** Server-sent events: the frames of the job's socket, with their position as id. */
async function jobEvents(c: AppContext): Promise<Response> {
  const { operator } = callerOf(c);
  const job = jobParam(c);
  const current = jobResource.parse(
    JSON.parse(await askOfJob(c, job.space, (stub) => stub.job({ operator }, job.ulid))),
  );
  const since = c.req.header("last-event-id") ?? c.req.query("since");
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  const write = (text: string) => writer.write(encoder.encode(text)).catch(() => stop?.());
  let stop: (() => void) | undefined;
  let epoch = "";
  let sawEvent = false;
  const ended = current.completed_at !== null;
  const { promise: opened, resolve: open } = Promise.withResolvers<boolean>();
  const keepAlive = setInterval(() => write(": keep-alive\n\n"), 15_000);
  stop = await followJob(c, job, {
    operator,
    since,
    onFrame: (text) => {
      const frame = serverFrame.parse(JSON.parse(text));
      if (frame.type === "connection") epoch = frame.epoch;
      else sawEvent = true;
      const offset = "offset" in frame ? `id: ${epoch}:${frame.offset}\n` : "";
      if (frame.type !== "connection" || !frame.recovered || !ended) open(true);
      write(`${frame.type === "connection" ? "" : offset}event: ${frame.type}\ndata: ${text}\n\n`);
    },
    onEnd: () => {
      clearInterval(keepAlive);
      open(sawEvent);
      writer.close().catch(() => undefined);
    },
  });
  // An EventSource that has seen the end reconnects for ever unless it is told that there is no more.
  if (!(await opened)) return c.body(null, 204);
  return c.body(readable, 200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
}
