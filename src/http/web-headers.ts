import { secureHeaders } from "hono/secure-headers";
import { isSecure } from "./client-request.ts";
import { API_POLICY, PAGE_POLICY, PERMISSIONS } from "./content-policies.ts";
import type { AppContext } from "./context.ts";

// Other sites don't learn which space or job a visitor came from. A page's own forms must still name its origin.
const REFERRER_POLICY = "same-origin";

const onPage = secureHeaders({
  contentSecurityPolicy: PAGE_POLICY,
  permissionsPolicy: PERMISSIONS,
  referrerPolicy: REFERRER_POLICY,
  xFrameOptions: "DENY",
  strictTransportSecurity: false,
});

/** What of it counts for an answer that is no page. Each more costs every call a microsecond, so these are all. */
const OF_ANSWERS = {
  "permissions-policy": Object.entries(PERMISSIONS)
    .map(([name, allowed]) => `${kebabOf(name)}=(${allowed.join(" ")})`)
    .join(", "),
  "referrer-policy": REFERRER_POLICY,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};
function kebabOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** What counts for an answer that a browser shows as a document, because a form or a link led to it. */
const OF_DOCUMENTS = {
  "cross-origin-opener-policy": "same-origin",
  "origin-agent-cluster": "?1",
};
/** The same, but what a handler says of its answer counts: of a file, for example. */
const UNLESS_SAID = {
  "content-security-policy": API_POLICY,
  "cross-origin-resource-policy": "same-origin",
};
const TWO_YEARS = "max-age=63072000";

/**
 * Tells browsers what any answer may do: a page may run the edge's own scripts, everything else nothing at all. An
 * answer that switches to a WebSocket has no content, and its headers can't be changed.
 */
export async function webHeaders(c: AppContext, next: () => Promise<void>): Promise<void> {
  await next();
  if (c.res.webSocket) return;
  const { headers } = c.res;
  if (/^text\/html\b/.test(headers.get("content-type") ?? "")) {
    await onPage(c, async () => undefined);
  } else {
    for (const [name, value] of Object.entries(OF_ANSWERS)) headers.set(name, value);
    if (c.req.header("sec-fetch-mode") === "navigate") {
      for (const [name, value] of Object.entries(OF_DOCUMENTS)) headers.set(name, value);
    }
    for (const [name, value] of Object.entries(UNLESS_SAID)) {
      if (!headers.has(name)) headers.set(name, value);
    }
  }
  // Over plain HTTP browsers ignore it, and where TLS isn't used it would be a false promise.
  if (isSecure(c)) c.header("strict-transport-security", TWO_YEARS);
}
