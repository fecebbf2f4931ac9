import { Hono } from "hono";
import { socketPrincipalOf } from "../auth/session.ts";
import { MONITOR_NAME } from "../monitor/reporter.ts";
import { statsOf } from "../monitor/totals.ts";
import { socketHeaders } from "../objects/socket-request.ts";
import { protocolHeader } from "../objects/subprotocol.ts";
import { requireAdmin, requireAdminAs } from "./access.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { formatMetrics } from "./metrics.ts";
import { principalOf } from "./principal.ts";
import { ProblemError } from "./problems.ts";
import { opened, openOrRefuse } from "./room-sockets.ts";

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
    const principal = await principalOf(c);
    if (principal.kind === "anonymous") {
      const detail = "This needs the operator's key, in `Authorization` or as `?token=`.";
      throw new ProblemError("not_authenticated", detail);
    }
    requireAdminAs(principal, "metrics:read");
    const socket = { kind: "monitor", principal: socketPrincipalOf(principal) } as const;
    const headers = socketHeaders(socket, protocolHeader(c.req.raw));
    return opened(await monitorStub(c).fetch("https://monitor/socket", { headers }));
  });
}

function monitorStub(c: AppContext) {
  return c.env.MONITOR.getByName(MONITOR_NAME);
}
