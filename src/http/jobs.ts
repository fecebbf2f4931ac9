import { Hono } from "hono";
import type { Caller } from "../auth/caller.ts";
import { newSecret, secretHash } from "../auth/secrets.ts";
import { jobResource, listJobsQuery } from "../protocol/resources.ts";
import { callerOf, changerOf, knownCallerOf } from "./access.ts";
import { note } from "./audit.ts";
import { publicOriginOf } from "./client-request.ts";
import {
  type AppContext,
  type AppEnv,
  answerJson,
  callJobForText,
  callSpaceForText,
  jobParam,
  spaceParam,
} from "./context.ts";
import { followJob } from "./follow.ts";
import { jobEvents, streamJob, wantsStream } from "./job-events.ts";
import { validate } from "./problems.ts";
import { limitRate } from "./rate.ts";
import { preferredWait, submitJob } from "./submit.ts";
import { submitBatch } from "./submit-batch.ts";

/** `/api/spaces/:space/jobs`. */
export const spaceJobs = new Hono<AppEnv>()
  .post("/", async (c) => {
    const caller = await callerOf(c);
    await limitRate(c, caller);
    const space = spaceParam(c);
    const { text, ulid, isRepeat, cancelOnDisconnect } = await submitJob(c, space, caller);
    if (isRepeat) c.header("idempotency-replayed", "true");
    c.header("location", `/api/jobs/${space}.${ulid}`);
    // A key that may submit and not read gets its job as it was made, and no more.
    if (!caller.mayRead) return answerJson(c, text, 202);
    if (wantsStream(c)) {
      // A repeat must not cancel the job that an earlier submit made.
      const cancels = cancelOnDisconnect && !isRepeat;
      return streamJob(c, { space, ulid, caller, cancelOnDisconnect: cancels });
    }
    const seconds = preferredWait(c.req.header("prefer"));
    if (seconds === null) return answerJson(c, text, 202);
    c.header("preference-applied", `wait=${seconds}`);
    const until = Date.now() + seconds * 1_000;
    return answerWhenEnded(c, { space, ulid, caller, until });
  })
  .post("/batch", async (c) => {
    const caller = await callerOf(c);
    await limitRate(c, caller);
    return answerJson(c, await submitBatch(c, spaceParam(c), caller), 202);
  })
  .get("/", async (c) => {
    const caller = await knownCallerOf(c);
    const space = spaceParam(c);
    const { cursor, ...filter } = validate(listJobsQuery, c.req.query());
    const before = cursor?.split(".").at(-1);
    return answerJson(
      c,
      await callSpaceForText(c, space, (stub) => stub.jobs(caller, { ...filter, before })),
    );
  });

/**
 * `/api/jobs/:job`. A job belongs to its submitter; one of nobody belongs to whoever may use its space and knows its
 * id, which has 65 random bits (decisions 0005 and 0055).
 */
export const jobs = new Hono<AppEnv>()
  .get("/:job", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return answerJson(c, await callJobForText(c, space, (stub) => stub.job(caller, ulid)));
  })
  .post("/:job/cancel", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return answerJson(c, await callJobForText(c, space, (stub) => stub.cancel(caller, ulid)));
  })
  .get("/:job/webhooks", async (c) => {
    const caller = await callerOf(c);
    const { space, ulid } = jobParam(c);
    return answerJson(
      c,
      await callJobForText(c, space, (stub) => stub.webhookDeliveries(caller, ulid)),
    );
  })
  .post("/:job/share", async (c) => {
    const { id, url } = jobAddress(c);
    const token = newSecret("dos_", 24);
    await changeShare(c, secretHash(token));
    await note(c, "job.share", `job:${id}`);
    // In the fragment, which no server is sent and no log has.
    return c.json({ url: `${publicOriginOf(c)}${url}&share=${token}`, token }, 201);
  })
  .delete("/:job/share", async (c) => {
    await changeShare(c, null);
    await note(c, "job.unshare", `job:${jobAddress(c).id}`);
    return c.body(null, 204);
  })
  .delete("/:job", async (c) => {
    const caller = await changerOf(c);
    const { space, ulid } = jobParam(c);
    await callJobForText(c, space, (stub) => stub.erase(caller, ulid));
    await note(c, "job.delete", `job:${jobAddress(c).id}`);
    return c.body(null, 204);
  })
  .get("/:job/events", (c) => jobEvents(c));

/** The job's id, and where its page shows it. */
function jobAddress(c: AppContext): { id: string; url: string } {
  const { space, ulid } = jobParam(c);
  const id = `${space}.${ulid}`;
  return { id, url: `/spaces/${space}#job=${id}` };
}

async function changeShare(c: AppContext, hash: string | null): Promise<void> {
  const caller = await changerOf(c);
  const { space, ulid } = jobParam(c);
  await callJobForText(c, space, (stub) => stub.share(caller, ulid, hash));
}

interface JobWait {
  space: string;
  ulid: string;
  caller: Caller;
  /** When to answer even if the job hasn't ended, milliseconds since 1970. */
  until: number;
}

/** Answers with 200 and the job when it has ended, or with 202 and the job when the wait is over. */
async function answerWhenEnded(c: AppContext, wait: JobWait): Promise<Response> {
  const { space, ulid, caller, until } = wait;
  for (;;) {
    await waitForEnd(c, wait);
    const text = await callSpaceForText(c, space, (stub) => stub.job(caller, ulid));
    const ended = jobResource.parse(JSON.parse(text)).completed_at !== null;
    // The socket also closes if the object restarts; then the job may still be running.
    if (ended || Date.now() >= until) return answerJson(c, text, ended ? 200 : 202);
  }
}

/** Resolves when the job's socket closes or the wait is over. */
async function waitForEnd(c: AppContext, wait: JobWait): Promise<void> {
  const { caller, until } = wait;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = await followJob(c, wait, {
    caller,
    onFrame: () => undefined,
    onEnd: () => resolve(),
  });
  const timer = setTimeout(resolve, until - Date.now());
  await promise;
  clearTimeout(timer);
  stop();
}
