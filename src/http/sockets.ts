import { Hono } from "hono";
import { EDGE } from "../auth/caller.ts";
import { bearerOf } from "../auth/operator.ts";
import { WorkerTokens } from "../catalog/worker-tokens.ts";
import { throttleQuery } from "../protocol/subscriber-frames.ts";
import { socketCallerOf } from "./access.ts";
import { isBackendJob, openBackendJob } from "./backend-jobs.ts";
import {
  type AppContext,
  type AppEnv,
  callSpaceForText,
  hasFlag,
  jobParam,
  maskMissingSpace,
  spaceParam,
} from "./context.ts";
import { openSocket } from "./follow.ts";
import { openMonitor } from "./monitor.ts";
import { crossOrigin } from "./origins.ts";
import { tokenInAddressOf } from "./principal.ts";
import { ProblemError, validate } from "./problems.ts";
import { openGateway, openRoom } from "./room-sockets.ts";
import { roomParam } from "./rooms.ts";

/** All routes that open a WebSocket. */
export const sockets = new Hono<AppEnv>()
  // A page reads why its socket was refused; the answer with a socket stays as it is.
  .use("/api/spaces/:space/connect", (c, next) => (isUpgrade(c) ? next() : crossOrigin(c, next)))
  .get("/api/spaces/:space/connect", async (c) => {
    const token = bearerOf(c.req.header("authorization")) ?? tokenInAddressOf(c);
    // With a token a plain request is answered as its socket would be: pages are not told why a socket failed (W4b).
    if (token === null) requireUpgrade(c);
    const space = spaceParam(c);
    const checkedAt = Date.now();
    const tokenId = token === null ? null : await new WorkerTokens(c.env.DB).verify(space, token);
    if (tokenId === null) {
      await callSpaceForText(c, space, (stub) => stub.describe(EDGE));
      const problem =
        token === null
          ? `A worker needs a token of the space ${space}, in \`Authorization: Bearer <token>\`.`
          : `This token is not one of the space ${space}: it is wrong or revoked, or another space's.`;
      const help = `The operator makes one with POST /api/spaces/${space}/tokens.`;
      throw new ProblemError("not_authenticated", `${problem} ${help}`);
    }
    requireUpgrade(c);
    const batch = hasFlag(c, "batch");
    return openSocket(c, space, { kind: "worker", tokenId, checkedAt, batch });
  })
  .get("/api/spaces/:space/ws", async (c) => {
    requireUpgrade(c);
    const space = spaceParam(c);
    const caller = await socketCallerOf(c);
    const since = c.req.query("since");
    const batch = hasFlag(c, "batch");
    return openSocket(c, space, { kind: "subscriber", caller, since, batch });
  })
  .get("/api/rooms/:room/ws", (c) => {
    requireUpgrade(c);
    return openRoom(c, roomParam(c));
  })
  .get("/ws", (c) => {
    requireUpgrade(c);
    return openGateway(c);
  })
  .get("/ws/monitor", (c) => {
    requireUpgrade(c);
    return openMonitor(c);
  })
  .get("/api/jobs/:job/ws", (c) => openJob(c))
  .get("/ws/:job", (c) => openJob(c));

async function openJob(c: AppContext): Promise<Response> {
  requireUpgrade(c);
  if (isBackendJob(c)) return openBackendJob(c);
  const { space, ulid: jobUlid } = jobParam(c);
  const caller = await socketCallerOf(c);
  const { max_rate: maxRate = null, acks } = validate(throttleQuery, c.req.query());
  const batch = hasFlag(c, "batch");
  const call = { since: c.req.query("since"), maxRate, acks: acks === "1", batch };
  return maskMissingSpace(openSocket(c, space, { kind: "subscriber", caller, jobUlid, ...call }));
}

function isUpgrade(c: AppContext): boolean {
  return c.req.header("upgrade")?.toLowerCase() === "websocket";
}

function requireUpgrade(c: AppContext): void {
  if (isUpgrade(c)) return;
  // If the client did send them, a proxy dropped them, which is what proxies do unless told otherwise.
  const detail =
    "This address is a WebSocket: send `Upgrade: websocket` and `Connection: Upgrade`. A proxy in between must " +
    "pass both on, with HTTP/1.1: docs/own-server.md has the lines for nginx.";
  throw new ProblemError("upgrade_required", detail);
}
