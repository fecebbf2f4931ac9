import type { RightName } from "./rights.ts";

/** A route or a socket, and what it asks of whoever comes. */
export interface Door {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "SOCKET";
  /** As the edge's router has it, without the patterns of its parameters. */
  path: string;
  right: RightName;
  /** The scope that a key needs for it. */
  scope?: string;
  /** It is about a job without a space. */
  isBackendJob?: true;
  note?: string;
  /** The test that tries it, if it is not that of all doors. */
  triedIn?: string;
}

const MANAGE = { right: "manage", scope: "spaces:admin" } as const;
const SEE_JOB = { right: "job", scope: "jobs:read" } as const;
const CHANGE_JOB = { right: "job", scope: "jobs:write" } as const;
const READ = { right: "reader", scope: "jobs:read", isBackendJob: true } as const;
const REPORT = { right: "reporter", scope: "jobs:write", isBackendJob: true } as const;
const ADMIN = { right: "admin" } as const;
const OPEN = { right: "open" } as const;
const SESSION = { right: "session" } as const;

/** Every door of the edge. A route that is missing here fails a test. */
export const DOORS: readonly Door[] = [
  { method: "GET", path: "/healthz", ...OPEN },
  { method: "GET", path: "/api/spaces", right: "anybody", note: "lists what the caller may see" },
  { method: "POST", path: "/api/spaces", right: "make_space", scope: "spaces:admin" },
  { method: "GET", path: "/api/spaces/:space", right: "use" },
  { method: "PATCH", path: "/api/spaces/:space", ...MANAGE, note: "`owner`: the owner and admins" },
  { method: "DELETE", path: "/api/spaces/:space", right: "own", scope: "spaces:admin" },
  { method: "GET", path: "/api/spaces/:space/members", ...MANAGE },
  { method: "PUT", path: "/api/spaces/:space/members/:user", ...MANAGE },
  {
    method: "DELETE",
    path: "/api/spaces/:space/members/:user",
    right: "leave",
    scope: "spaces:admin",
  },
  { method: "GET", path: "/api/spaces/:space/tokens", ...MANAGE },
  { method: "POST", path: "/api/spaces/:space/tokens", ...MANAGE },
  { method: "DELETE", path: "/api/spaces/:space/tokens/:id", ...MANAGE },
  { method: "POST", path: "/api/spaces/:space/drain", ...MANAGE },
  { method: "GET", path: "/api/spaces/:space/webhook-secret", ...MANAGE },
  { method: "POST", path: "/api/spaces/:space/webhook-secret", ...MANAGE },
  { method: "SOCKET", path: "/api/spaces/:space/connect", right: "worker" },
  { method: "SOCKET", path: "/api/spaces/:space/ws", right: "use", scope: "jobs:read" },
  { method: "POST", path: "/api/spaces/:space/jobs", right: "use", scope: "jobs:write" },
  { method: "POST", path: "/api/spaces/:space/jobs/batch", right: "use", scope: "jobs:write" },
  { method: "GET", path: "/api/spaces/:space/jobs", right: "list", scope: "jobs:read" },
  { method: "GET", path: "/api/jobs/:job", ...SEE_JOB },
  { method: "GET", path: "/api/jobs/:job/events", ...SEE_JOB },
  { method: "SOCKET", path: "/api/jobs/:job/ws", ...SEE_JOB },
  { method: "SOCKET", path: "/ws/:job", ...SEE_JOB },
  { method: "GET", path: "/api/jobs/:job/webhooks", ...SEE_JOB, note: "not with its link" },
  { method: "POST", path: "/api/jobs/:job/cancel", ...CHANGE_JOB },
  { method: "POST", path: "/api/jobs/:job/share", ...CHANGE_JOB },
  { method: "DELETE", path: "/api/jobs/:job/share", ...CHANGE_JOB },
  { method: "DELETE", path: "/api/jobs/:job", ...CHANGE_JOB },
  { method: "POST", path: "/api/jobs", ...REPORT },
  { method: "GET", path: "/api/jobs/:job", ...READ },
  { method: "GET", path: "/api/jobs/:job/events", ...READ },
  { method: "SOCKET", path: "/api/jobs/:job/ws", ...READ },
  { method: "SOCKET", path: "/ws/:job", ...READ },
  { method: "POST", path: "/api/jobs/:job/progress", ...REPORT },
  { method: "POST", path: "/api/jobs/:job/output", ...REPORT },
  { method: "POST", path: "/api/jobs/:job/complete", ...REPORT },
  { method: "POST", path: "/api/jobs/:job/fail", ...REPORT },
  { method: "POST", path: "/api/jobs/:job/cancel", ...REPORT },
  { method: "DELETE", path: "/api/jobs/:job", ...REPORT },
  { method: "GET", path: "/api/files/:key", right: "signed" },
  { method: "GET", path: "/api/jobs/:job/outputs/:name", ...SEE_JOB },
  { method: "PUT", path: "/api/jobs/:job/attempts/:attempt/outputs/:name", right: "signed" },
  { method: "SOCKET", path: "/ws", right: "gateway" },
  { method: "SOCKET", path: "/api/rooms/:room/ws", right: "room", scope: "rooms:read:<room>" },
  { method: "GET", path: "/api/rooms/:room/events", right: "room", scope: "rooms:read:<room>" },
  { method: "GET", path: "/api/rooms/:room/history", right: "room", scope: "rooms:read:<room>" },
  { method: "GET", path: "/api/rooms/:room/presence", right: "room", scope: "rooms:read:<room>" },
  {
    method: "POST",
    path: "/api/rooms/:room/events",
    right: "publisher",
    scope: "rooms:publish:<room>",
  },
  { method: "GET", path: "/api/rooms", ...ADMIN },
  { method: "DELETE", path: "/api/rooms/:room", ...ADMIN },
  { method: "DELETE", path: "/api/rooms/:room/events", ...ADMIN },
  { method: "POST", path: "/api/tokens", right: "minter" },
  { method: "GET", path: "/api/auth", ...OPEN },
  { method: "POST", path: "/api/auth/setup", ...OPEN, note: "asks for the key of the set-up" },
  { method: "POST", path: "/api/auth/sign-up", ...OPEN, note: "as `REGISTRATION` says" },
  { method: "POST", path: "/api/auth/sign-in", ...OPEN, note: "asks for a password" },
  { method: "POST", path: "/api/auth/oauth", right: "page", note: "as `REGISTRATION` says" },
  { method: "GET", path: "/api/auth/callback/oidc", ...OPEN, note: "asks the provider" },
  { method: "POST", path: "/api/auth/sign-out", right: "page" },
  { method: "GET", path: "/api/me", ...OPEN, note: "says who is signed in, or nobody" },
  { method: "PATCH", path: "/api/me", ...SESSION },
  { method: "DELETE", path: "/api/me", ...SESSION, note: "asks for the password" },
  { method: "POST", path: "/api/me/password", ...SESSION, note: "asks for the password" },
  { method: "GET", path: "/api/me/jobs", right: "known", scope: "jobs:read" },
  { method: "GET", path: "/api/me/export", ...SESSION },
  { method: "GET", path: "/api/me/sessions", ...SESSION },
  { method: "DELETE", path: "/api/me/sessions", ...SESSION },
  { method: "DELETE", path: "/api/me/sessions/:id", ...SESSION },
  { method: "GET", path: "/api/keys", right: "holder" },
  { method: "POST", path: "/api/keys", right: "holder" },
  { method: "DELETE", path: "/api/keys/:id", right: "holder" },
  { method: "GET", path: "/api/users", ...ADMIN },
  { method: "PATCH", path: "/api/users/:id", ...ADMIN },
  { method: "DELETE", path: "/api/users/:id", ...ADMIN },
  { method: "GET", path: "/api/users/:id/jobs", ...ADMIN },
  { method: "GET", path: "/api/users/:id/export", ...ADMIN },
  { method: "GET", path: "/api/audit", ...ADMIN },
  { method: "GET", path: "/api/invitations", ...ADMIN },
  { method: "POST", path: "/api/invitations", ...ADMIN },
  { method: "DELETE", path: "/api/invitations/:id", ...ADMIN },
  { method: "GET", path: "/websockets/csrf-token", ...SESSION },
  {
    method: "POST",
    path: "/websockets/submit/:space",
    right: "csrf",
    triedIn: "test/e2e/first-system.test.ts",
  },
  { method: "GET", path: "/websockets/status", ...SEE_JOB },
  { method: "GET", path: "/websockets/connection/:space", right: "use" },
  { method: "GET", path: "/api/v1/websocket/stats", right: "numbers", scope: "metrics:read" },
  { method: "GET", path: "/metrics", right: "numbers", scope: "metrics:read" },
  { method: "SOCKET", path: "/ws/monitor", right: "numbers", scope: "metrics:read" },
];

/** The addresses of pages. They show what their visitor may see, which the API decides. */
export const PAGES = [
  "/",
  "/spaces",
  "/spaces/:space",
  "/spaces/:space/settings",
  "/new",
  "/sign-in",
  "/register",
  "/setup",
  "/account",
  "/admin",
] as const;

/** The key of a door in tables. */
export function nameOf({ method, path, isBackendJob }: Door): string {
  return `${method} ${path}${isBackendJob ? " (no space)" : ""}`;
}
