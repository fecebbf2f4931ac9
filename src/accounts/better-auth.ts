import { betterAuth } from "better-auth";
import { APIError } from "better-auth/api";
import { type Admission, admissions } from "./admission.ts";
import { sessionSecret } from "./session-cookie.ts";
import { TABLE_OPTIONS } from "./tables.ts";
import { isDisabled } from "./users.ts";

/** The bindings and settings of the edge that accounts are made with. */
export interface AccountSettings {
  DB: D1Database;
  SIGNING_KEY: string;
}

/** The header in which the edge tells Better Auth the client's address, as it has found it out itself. */
export const ADDRESS_HEADER = "x-client-address";

/**
 * Accounts, passwords and sessions, by Better Auth on D1 (decision 0048). Its own routes are not reachable: the edge
 * calls its functions, after its own checks.
 */
function makeAccounts({ DB, SIGNING_KEY }: AccountSettings, origin: string) {
  return betterAuth({
    ...TABLE_OPTIONS,
    baseURL: origin,
    basePath: "/api/auth",
    secret: sessionSecret(SIGNING_KEY),
    database: DB,
    telemetry: { enabled: false },
    logger: { disabled: true },
    rateLimit: { enabled: false },
    advanced: {
      cookiePrefix: "dialout",
      useSecureCookies: origin.startsWith("https://"),
      // `validateSchema` would read the schema of all tables in each isolate.
      database: { joins: true, validateSchema: false },
      ipAddress: { ipAddressHeaders: [ADDRESS_HEADER] },
    },
    databaseHooks: {
      user: { create: { before: async (user) => ({ data: admitted(user) }) } },
      session: { create: { before: async ({ userId }) => refuseDisabled(DB, userId) } },
    },
  });
}

export type Accounts = ReturnType<typeof makeAccounts>;

/** No account is made but within an admission, whatever function of Better Auth it comes from. */
function admitted<T extends object>(user: T): T & Pick<Admission, "role"> {
  const admission = admissions.getStore();
  if (!admission) throw new APIError("FORBIDDEN", { message: "Registration is closed." });
  return { ...user, role: admission.role };
}

async function refuseDisabled(db: D1Database, userId: string): Promise<void> {
  if (!(await isDisabled(db, userId))) return;
  throw new APIError("FORBIDDEN", { message: "This account is disabled: ask an administrator." });
}

/**
 * How many origins keep their instance. Without PUBLIC_URL the origin comes from the request, where a client can
 * write any.
 */
const KEPT_ORIGINS = 8;
/** By origin and key: a changed key must not meet the instance of the former one. */
const known = new WeakMap<D1Database, Map<string, Accounts>>();

/** @param origin the one under which clients reach the edge: cookies are bound to it */
export async function accountsAt(settings: AccountSettings, origin: string): Promise<Accounts> {
  const instances = known.get(settings.DB) ?? new Map<string, Accounts>();
  known.set(settings.DB, instances);
  const key = `${origin} ${settings.SIGNING_KEY}`;
  const kept = instances.get(key);
  if (kept) return kept;
  const accounts = makeAccounts(settings, origin);
  // Set up within this request: another request can't wait for a promise of this one.
  await accounts.$context;
  const [oldest] = instances.keys();
  if (instances.size >= KEPT_ORIGINS && oldest !== undefined) instances.delete(oldest);
  instances.set(key, accounts);
  return accounts;
}
