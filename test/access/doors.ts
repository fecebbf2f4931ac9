import type { RightName } from "./rights.ts";

/** A route or socket, and what it asks of whoever comes. */
export interface Door {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "SOCKET";
  /** As the edge's router has it, without the patterns of its parameters. */
  path: string;
  right: RightName;
  /** The scope that a key needs for it. */
  scope?: string;
  note?: string;
}

const MANAGE = { right: "manage", scope: "spaces:admin" } as const;
const ADMIN = { right: "admin" } as const;

export const DOORS: readonly Door[] = [
  { method: "GET", path: "/healthz", right: "open" },
  { method: "GET", path: "/api/spaces", right: "anybody", note: "lists those that the caller may use" },
  { method: "POST", path: "/api/spaces", right: "make_space", scope: "spaces:admin" },
  { method: "GET", path: "/api/spaces/:space", right: "use" },
  { method: "PATCH", path: "/api/spaces/:space", ...MANAGE },
  { method: "DELETE", path: "/api/spaces/:space", right: "own", scope: "spaces:admin" },
  { method: "POST", path: "/api/spaces/:space/tokens", ...MANAGE },
  { method: "GET", path: "/api/spaces/:space/tokens", ...MANAGE },
  { method: "DELETE", path: "/api/spaces/:space/tokens/:id", ...MANAGE },
  { method: "POST", path: "/api/spaces/:space/drain", ...MANAGE },
  { method: "GET", path: "/api/spaces/:space/webhook-secret", ...MANAGE },
  { method: "POST", path: "/api/spaces/:space/webhook-secret", ...MANAGE },
  { method: "SOCKET", path: "/api/spaces/:space/connect", right: "worker" },
  { method: "SOCKET", path: "/api/spaces/:space/ws", right: "use", scope: "jobs:read" },
  { method: "POST", path: "/api/spaces/:space/jobs", right: "use", scope: "jobs:write" },
  { method: "POST", path: "/api/spaces/:space/jobs/batch", right: "use", scope: "jobs:write" },
  { method: "GET", path: "/api/spaces/:space/jobs", right: "use", scope: "jobs:read" },
  { method: "GET", path: "/api/jobs/:job", right: "job", scope: "jobs:read" },
  { method: "GET", path: "/api/jobs/:job/events", right: "job", scope: "jobs:read" },
  { method: "GET", path: "/api/jobs/:job/webhooks", right: "job", scope: "jobs:read" },
  { method: "POST", path: "/api/jobs/:job/cancel", right: "job", scope: "jobs:write" },
  { method: "SOCKET", path: "/api/jobs/:job/ws", right: "job", scope: "jobs:read" },
  { method: "SOCKET", path: "/ws/:job", right: "job", scope: "jobs:read" },
  { method: "GET", path: "/api/users", ...ADMIN },
  { method: "PATCH", path: "/api/users/:id", ...ADMIN },
  { method: "GET", path: "/api/audit", ...ADMIN },
  { method: "GET", path: "/api/invitations", ...ADMIN },
  { method: "POST", path: "/api/invitations", ...ADMIN },
  { method: "DELETE", path: "/api/invitations/:id", ...ADMIN },
];
