import { betterAuth } from "better-auth";
import { APIError } from "better-auth/api";
import { genericOAuth } from "better-auth/plugins/generic-oauth";
import type { Role } from "../protocol/accounts.ts";
import { admissions } from "./admission.ts";
import { sessionSecret } from "./session-cookie.ts";
import { TABLE_OPTIONS } from "./tables.ts";
import { isDisabled } from "./users.ts";

/** The bindings and settings of the edge that accounts are made with. */
export interface AccountSettings {
  DB: D1Database;
  SIGNING_KEY: string;
  OAUTH_ISSUER?: string;
  OAUTH_CLIENT_ID?: string;
  OAUTH_CLIENT_SECRET?: string;
}

/** The one provider of OpenID Connect, in addresses and in the table of accounts. */
export const PROVIDER_ID = "oidc";

/** The header in which the edge tells Better Auth the client's address, as it has found it out itself. */
export const ADDRESS_HEADER = "x-client-address";

/**
 * Accounts, passwords and sessions, by Better Auth on D1 (decision 0048). Its own routes are not reachable: the edge
 * calls its functions, after its own checks.
 */
function makeAccounts(settings: AccountSettings, origin: string, withProvider: boolean) {
  const { DB, SIGNING_KEY } = settings;
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
      user: {
        create: {
          before: async (user) => ({ data: await admitted(user) }),
          after: async ({ id }) => noteMade(id),
        },
      },
      session: { create: { before: async ({ userId }) => refuseDisabled(DB, userId) } },
      // A provider's tokens are used for nothing here, so they are not stored.
      account: { create: { before: async (account) => ({ data: { ...account, ...NO_TOKENS } }) } },
    },
    account: { updateAccountOnSignIn: false },
    plugins: withProvider ? [genericOAuth({ config: [providerOf(settings)] })] : [],
  });
}

export type Accounts = ReturnType<typeof makeAccounts>;

/** The codes stand in the address of the page to which a provider's visitors come back. */
const CLOSED = { code: "registration_closed", message: "Registration is closed." };
const DISABLED = {
  code: "account_disabled",
  message: "This account is disabled: ask an administrator.",
};

/** No account is made but within an admission, whatever function of Better Auth it comes from. */
async function admitted<T extends { email: string }>(user: T): Promise<T & { role: Role }> {
  const role = (await admissions.getStore()?.roleFor(user.email)) ?? null;
  if (role === null) throw new APIError("FORBIDDEN", CLOSED);
  return { ...user, role };
}

function noteMade(id: string): void {
  const admission = admissions.getStore();
  if (admission) admission.madeId = id;
}

const NO_TOKENS = { accessToken: null, refreshToken: null, idToken: null };

/** `state` and PKCE are the library's; the provider's signature and `nonce` are required. */
function providerOf({
  OAUTH_ISSUER = "",
  OAUTH_CLIENT_ID = "",
  OAUTH_CLIENT_SECRET,
}: AccountSettings) {
  return {
    providerId: PROVIDER_ID,
    discoveryUrl: `${OAUTH_ISSUER.replace(/\/+$/, "")}/.well-known/openid-configuration`,
    clientId: OAUTH_CLIENT_ID,
    ...(OAUTH_CLIENT_SECRET === undefined ? {} : { clientSecret: OAUTH_CLIENT_SECRET }),
    scopes: ["openid", "email", "profile"],
    requireIdTokenVerification: true,
  };
}

async function refuseDisabled(db: D1Database, userId: string): Promise<void> {
  const admission = admissions.getStore();
  if (admission) admission.signedInId = userId;
  if (!(await isDisabled(db, userId))) return;
  throw new APIError("FORBIDDEN", DISABLED);
}

/**
 * How many origins keep their instance. Without PUBLIC_URL the origin comes from the request, where a client can
 * write any.
 */
const KEPT_ORIGINS = 8;
/** By origin and key: a changed key must not meet the instance of the former one. */
const known = new WeakMap<D1Database, Map<string, Accounts>>();

/**
 * @param origin the one under which clients reach the edge: cookies are bound to it
 * @param withProvider also signs in with the provider, which is asked for its addresses first: passwords must work
 * while it can't be reached
 */
export async function accountsAt(
  settings: AccountSettings,
  origin: string,
  withProvider = false,
): Promise<Accounts> {
  const instances = known.get(settings.DB) ?? new Map<string, Accounts>();
  known.set(settings.DB, instances);
  const key = `${origin} ${settings.SIGNING_KEY} ${withProvider}`;
  const kept = instances.get(key);
  if (kept) return kept;
  const accounts = makeAccounts(settings, origin, withProvider);
  // Set up within this request: another request can't wait for a promise of this one.
  await accounts.$context;
  const [oldest] = instances.keys();
  if (instances.size >= KEPT_ORIGINS && oldest !== undefined) instances.delete(oldest);
  instances.set(key, accounts);
  return accounts;
}
