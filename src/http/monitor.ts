import { Hono } from "hono";
import { MONITOR_NAME } from "../monitor/reporter.ts";
import { statsOf } from "../monitor/totals.ts";
import { SUBSCRIBER_PROTOCOL } from "../protocol/subscriber-frames.ts";
import { type AppContext, type AppEnv, requireOperator } from "./context.ts";
import { metricsOf } from "./metrics.ts";
import { principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";
import { refusedSocket } from "./room-sockets.ts";

/** The numbers of the whole edge, for its operator. */
export const monitor = new Hono<AppEnv>()
  .get("/api/v1/websocket/stats", async (c) => {
    requireOperator(c);
    const totals = await monitorOf(c).overview();
    return c.json(statsOf(totals, new Date().toISOString()));
  })
  .get("/metrics", async (c) => {
    requireOperator(c);
    const { text, contentType } = await metricsOf(await monitorOf(c).overview());
    return c.body(text, 200, { "content-type": contentType });
  });

/** The same numbers on a socket, as they change. */
export async function openMonitor(c: AppContext): Promise<Response> {
  const refusal = await refusalOf(c);
  // Browsers tell nothing of a refused upgrade: who is not let in is told over the socket.
  if (refusal !== null) return refusedSocket(c, refusal.code, refusal.message);
  const headers = new Headers({ upgrade: "websocket" });
  const offered = (c.req.header("sec-websocket-protocol") ?? "").split(",");
  if (offered.some((one) => one.trim() === SUBSCRIBER_PROTOCOL)) {
    headers.set("sec-websocket-protocol", SUBSCRIBER_PROTOCOL);
  }
  return monitorOf(c).fetch("https://monitor/socket", { headers });
}

function monitorOf(c: AppContext) {
  return c.env.MONITOR.getByName(MONITOR_NAME);
}

/** Why whoever asks may not watch; `null` for the operator. */
async function refusalOf(c: AppContext): Promise<ProblemError | null> {
  try {
    if ((await principalOf(c)).kind === "operator") return null;
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
  const detail = "This needs the operator's key, in `Authorization` or as `?token=`.";
  return new ProblemError("not_authenticated", detail);
}
