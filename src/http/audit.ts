import { Hono } from "hono";
import { type Actor, Audit, actorOf } from "../accounts/audit.ts";
import { type AuditAction, type AuditEntry, auditQuery } from "../protocol/accounts.ts";
import { requireAdmin } from "./access.ts";
import { clientAddressOf } from "./client-request.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { pageOf } from "./paging.ts";
import { headerPrincipalOf } from "./principal.ts";
import { validate } from "./problems.ts";

/** `/api/audit`: who did what, for admins; as JSON, or as CSV to keep elsewhere. */
export const audit = new Hono<AppEnv>().get("/", async (c) => {
  await requireAdmin(c);
  const { cursor, limit, format, from, until, ...filter } = validate(auditQuery, c.req.query());
  const times = { from: timeOf(from), until: timeOf(until) };
  const log = new Audit(c.env);
  const found = await log.list({ ...filter, ...times }, { before: cursor, limit: limit + 1 });
  const { entries, next } = pageOf(found, limit);
  if (format === "json") return c.json({ entries, next_cursor: next });
  if (next !== null) c.header("x-next-cursor", next);
  c.header("content-disposition", 'attachment; filename="audit.csv"');
  return c.body(csvOf(entries), 200, { "content-type": "text/csv; charset=utf-8" });
});

/** Notes what somebody has done. */
export async function noteOf(
  c: AppContext,
  by: Actor,
  action: AuditAction,
  target: string,
  details: Record<string, unknown> = {},
): Promise<void> {
  await new Audit(c.env).add(by, action, target, { address: clientAddressOf(c), details });
}

/** Notes what the sender of the request has done. */
export async function note(
  c: AppContext,
  action: AuditAction,
  target: string,
  details?: Record<string, unknown>,
): Promise<void> {
  await noteOf(c, actorOf(await headerPrincipalOf(c)), action, target, details);
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}

const FIELDS = ["id", "at", "actor_kind", "actor", "action", "target", "address"] as const;

function csvOf(entries: readonly AuditEntry[]): string {
  const rows = entries.map((entry) => [
    ...FIELDS.map((field) => entry[field] ?? ""),
    JSON.stringify(entry.details),
  ]);
  return [[...FIELDS, "details"], ...rows].map((row) => row.map(cell).join()).join("\r\n");
}

/** RFC 4180; a text that a spreadsheet would take for a formula gets a quote before it. */
function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
