import { secureHeaders } from "hono/secure-headers";
import { publicOriginOf } from "./client-request.ts";
import { API_POLICY, PAGE_POLICY, PERMISSIONS } from "./content-policies.ts";
import type { AppContext } from "./context.ts";

const COMMON = {
  permissionsPolicy: PERMISSIONS,
  // Other sites don't learn which space or job a visitor came from. A page's own forms must still name its origin.
  referrerPolicy: "same-origin",
  xFrameOptions: "DENY",
  strictTransportSecurity: false,
} as const;

const onPage = secureHeaders({ ...COMMON, contentSecurityPolicy: PAGE_POLICY });
const onAnswer = secureHeaders({
  ...COMMON,
  contentSecurityPolicy: API_POLICY,
  // What a handler says of its answer counts: a file's policy is stricter still.
  overwrite: false,
});
const TWO_YEARS = "max-age=63072000";

/**
 * Tells browsers what any answer may do: a page may run the edge's own scripts, everything else nothing at all. An
 * answer that switches to a WebSocket has no content, and its headers can't be changed.
 */
export async function webHeaders(c: AppContext, next: () => Promise<void>): Promise<void> {
  await next();
  if (c.res.webSocket) return;
  const isPage = /^text\/html\b/.test(c.res.headers.get("content-type") ?? "");
  await (isPage ? onPage : onAnswer)(c, async () => undefined);
  // Over plain HTTP browsers ignore it, and where TLS isn't used it would be a false promise.
  if (publicOriginOf(c).startsWith("https:")) c.header("strict-transport-security", TWO_YEARS);
}
