import { Hono } from "hono";
import { bearerOf } from "../auth/operator.ts";
import { WorkerTokens } from "../catalog/worker-tokens.ts";
import {
  type AppContext,
  type AppEnv,
  ask,
  askOfJob,
  callerOf,
  jobParam,
  spaceParam,
} from "./context.ts";
import { openSocket } from "./follow.ts";
import { ProblemError } from "./problems.ts";

/** Every route that becomes a WebSocket. */
export const sockets = new Hono<AppEnv>()
  .get("/api/spaces/:space/connect", async (c) => {
    requireUpgrade(c);
    const space = spaceParam(c);
    const token = bearerOf(c.req.header("authorization")) ?? c.req.query("token") ?? null;
    const tokenId = token === null ? null : await new WorkerTokens(c.env.DB).verify(space, token);
    await ask(c, space, (stub) => stub.describe({ operator: true }));
    if (tokenId === null) {
      const detail = `A worker needs a token of the space ${space}: this one is missing, wrong or revoked.`;
      throw new ProblemError("not_authenticated", detail);
    }
    const { origin } = new URL(c.req.url);
    return openSocket(c, space, { role: "worker", operator: true, origin, tokenId });
  })
  .get("/api/spaces/:space/ws", async (c) => {
    requireUpgrade(c);
    const space = spaceParam(c);
    const caller = callerOf(c);
    await ask(c, space, (stub) => stub.describe(caller));
    const since = c.req.query("since");
    const { origin } = new URL(c.req.url);
    return openSocket(c, space, { role: "subscriber", operator: caller.operator, origin, since });
  })
  .get("/api/jobs/:job/ws", (c) => openJob(c))
  .get("/ws/:job", (c) => openJob(c));

async function openJob(c: AppContext): Promise<Response> {
  requireUpgrade(c);
  const { space, ulid: job } = jobParam(c);
  const caller = callerOf(c);
  await askOfJob(c, space, (stub) => stub.job(caller, job));
  const since = c.req.query("since");
  const { origin } = new URL(c.req.url);
  return openSocket(c, space, {
    role: "subscriber",
    operator: caller.operator,
    origin,
    job,
    since,
  });
}

function requireUpgrade(c: AppContext): void {
  if (c.req.header("upgrade")?.toLowerCase() === "websocket") return;
  throw new ProblemError(
    "upgrade_required",
    "This address is a WebSocket: send `Upgrade: websocket`.",
  );
}
