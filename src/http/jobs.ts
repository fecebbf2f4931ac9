import { Hono } from "hono";
import { jobResource, listJobsQuery } from "../protocol/resources.ts";
import type { Caller } from "../space/calls.ts";
import {
  type AppContext,
  type AppEnv,
  callerOf,
  callJobForText,
  callSpaceForText,
  jobParam,
  jsonText,
  requireOperator,
  spaceParam,
} from "./context.ts";
import { followJob } from "./follow.ts";
import { jobEvents, streamJob, wantsStream } from "./job-events.ts";
import { checked } from "./problems.ts";
import { limitRate } from "./rate.ts";
import { preferredWait, submitJob } from "./submit.ts";
import { submitBatch } from "./submit-batch.ts";

/** `/api/spaces/:space/jobs`. */
export const spaceJobs = new Hono<AppEnv>()
  .post("/", async (c) => {
    const caller = await callerOf(c);
    await limitRate(c, caller);
    const space = spaceParam(c);
    const { text, ulid, isRepeat, leaving } = await submitJob(c, space, caller);
    if (isRepeat) c.header("idempotency-replayed", "true");
    c.header("location", `/api/jobs/${space}.${ulid}`);
    if (wantsStream(c)) {
      const { operator } = caller;
      return streamJob(c, { space, ulid, operator, leaving: leaving && !isRepeat });
    }
    const seconds = preferredWait(c.req.header("prefer"));
    if (seconds === null) return jsonText(c, text, 202);
    c.header("preference-applied", `wait=${seconds}`);
    const until = Date.now() + seconds * 1_000;
    return answerAtEnd(c, { space, ulid, caller, until });
  })
  .post("/batch", async (c) => {
    const caller = await callerOf(c);
    await limitRate(c, caller);
    return jsonText(c, await submitBatch(c, spaceParam(c), caller), 202);
  })
  .get("/", async (c) => {
    const caller = requireOperator(c);
    const space = spaceParam(c);
    const { cursor, ...filter } = checked(listJobsQuery, c.req.query());
    const before = cursor?.split(".").at(-1);
    return jsonText(
      c,
      await callSpaceForText(c, space, (stub) => stub.jobs(caller, { ...filter, before })),
    );
  });

/** `/api/jobs/:job`. The id has 65 random bits: whoever knows it may see and cancel the job. */
export const jobs = new Hono<AppEnv>()
  .get("/:job", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return jsonText(c, await callJobForText(c, space, (stub) => stub.job(caller, ulid)));
  })
  .post("/:job/cancel", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return jsonText(c, await callJobForText(c, space, (stub) => stub.cancel(caller, ulid)));
  })
  .get("/:job/webhooks", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return jsonText(
      c,
      await callJobForText(c, space, (stub) => stub.webhookDeliveries(caller, ulid)),
    );
  })
  .get("/:job/events", (c) => jobEvents(c));

interface Wait {
  space: string;
  ulid: string;
  caller: Caller;
  /** When it is over at the latest. */
  until: number;
}

/** Answers with the ended job, or with the job as it is once the wait is over. */
async function answerAtEnd(c: AppContext, wait: Wait): Promise<Response> {
  const { space, ulid, caller, until } = wait;
  for (;;) {
    await waitForEnd(c, wait);
    const text = await callSpaceForText(c, space, (stub) => stub.job(caller, ulid));
    const ended = jobResource.parse(JSON.parse(text)).completed_at !== null;
    // A socket may also close because the object started again.
    if (ended || Date.now() >= until) return jsonText(c, text, ended ? 200 : 202);
  }
}

/** Resolves when the job's socket closes, or the wait is over. */
async function waitForEnd(c: AppContext, wait: Wait): Promise<void> {
  const { caller, until } = wait;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = await followJob(c, wait, {
    operator: caller.operator,
    onFrame: () => undefined,
    onEnd: resolve,
  });
  const timer = setTimeout(resolve, until - Date.now());
  await promise;
  clearTimeout(timer);
  stop();
}
