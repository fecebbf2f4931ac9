import { Hono } from "hono";
import { LIMITS } from "../protocol/limits.ts";
import { type JobResource, jobResource, listJobsQuery } from "../protocol/resources.ts";
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
import { jobEvents } from "./job-events.ts";
import { checked } from "./problems.ts";
import { submitJob } from "./submit.ts";

/** `/api/spaces/:space/jobs`. */
export const spaceJobs = new Hono<AppEnv>()
  .post("/", async (c) => {
    const caller = callerOf(c);
    const space = spaceParam(c);
    const { text, isRepeat } = await submitJob(c, space, caller);
    if (isRepeat) c.header("idempotency-replayed", "true");
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
