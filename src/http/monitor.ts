import { Hono } from "hono";
import { MONITOR_NAME } from "../monitor/reporter.ts";
import { statsOf } from "../monitor/totals.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { requireAdmin } from "./access.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { formatMetrics } from "./metrics.ts";
import { principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";
import { openOrRefuse } from "./room-sockets.ts";

/** The numbers of the whole edge; only the operator may read them. */
export const monitor = new Hono<AppEnv>()
  .get("/api/v1/websocket/stats", async (c) => {
    await requireAdmin(c, "metrics:read");
    const totals = await monitorStub(c).overview();
    return c.json(statsOf(totals, new Date().toISOString()));
  })
  .get("/metrics", async (c) => {
    await requireAdmin(c, "metrics:read");
    const { text, contentType } = await formatMetrics(await monitorStub(c).overview());
    return c.body(text, 200, { "content-type": contentType });
  });

/** Opens a socket that sends these numbers whenever they change. */
export function openMonitor(c: AppContext): Promise<Response> {
  return openOrRefuse(c, async () => {
    if ((await principalOf(c)).kind !== "operator") {
      const detail = "This needs the operator's key, in `Authorization` or as `?token=`.";
      throw new ProblemError("not_authenticated", detail);
    }
    const headers = { upgrade: "websocket", ...protocolHeader(c.req.raw) };
    return monitorStub(c).fetch("https://monitor/socket", { headers });
  });
}

function monitorStub(c: AppContext) {
  return c.env.MONITOR.getByName(MONITOR_NAME);
}
