import { TrustedProxies } from "./auth/trusted-proxies.ts";
import type { JobIndexObject } from "./backend-job/job-index-object.ts";
import type { JobObject } from "./backend-job/job-object.ts";
import type { FileSweepObject } from "./file-sweep/file-sweep-object.ts";
import type { GatewayObject } from "./gateway/gateway-object.ts";
import type { HolderObject } from "./holder/holder-object.ts";
import type { MonitorObject } from "./monitor/monitor-object.ts";
import type { Registration, SpaceCreation } from "./protocol/accounts.ts";
import type { RoomObject } from "./room/room-object.ts";
import { ANY_ORIGIN, readOrigins, settingsError } from "./settings.ts";
import type { SpaceObject } from "./space/space-object.ts";

/** The bindings, variables and secrets that wrangler.toml and the deployment set. */
export interface Env {
  SPACE: DurableObjectNamespace<SpaceObject>;
  JOB: DurableObjectNamespace<JobObject>;
  JOB_INDEX: DurableObjectNamespace<JobIndexObject>;
  ROOM: DurableObjectNamespace<RoomObject>;
  GATEWAY: DurableObjectNamespace<GatewayObject>;
  MONITOR: DurableObjectNamespace<MonitorObject>;
  HOLDER: DurableObjectNamespace<HolderObject>;
  FILE_SWEEP: DurableObjectNamespace<FileSweepObject>;
  DB: D1Database;
  FILES: R2Bucket;
  ASSETS: Fetcher;
  OPERATOR_KEY: string;
  SIGNING_KEY: string;
  /** The operator's key and the secrets from before a change; each is taken beside the new one while it is set (decision 0058). */
  OPERATOR_KEY_FORMER?: string;
  SIGNING_KEY_FORMER?: string;
  JWT_SECRET_FORMER?: string;
  /** The secret that signs users' tokens (HS256). Always required, though not used when `JWKS_URL` is set. */
  JWT_SECRET: string;
  /** Address of the public keys that check users' tokens instead of `JWT_SECRET`. */
  JWKS_URL?: string;
  /** What a token's `iss` must be, if set. */
  JWT_ISSUER?: string;
  /** What a token's `aud` must be, if set. */
  JWT_AUDIENCE?: string;
  /** How many gateways share the sockets of one region; 4 if not set. */
  GATEWAYS?: string;
  /** Limits how fast one address may send submits. */
  SUBMITS: RateLimit;
  /** How many jobs one address may submit to a space each minute in the long run; 600 if not set. */
  JOBS_PER_MINUTE?: string;
  /** Limits how often one address may try a password. */
  SIGN_INS: RateLimit;
  /** Who may make an account; `invitation` if not set. */
  REGISTRATION?: Registration;
  /** Who may make spaces; `admins` if not set. */
  SPACE_CREATION?: SpaceCreation;
  /** How many spaces a member may own; 20 if not set. */
  MAX_SPACES_PER_USER?: string;
  /** An OpenID Connect provider with which people may sign in, and what this edge is there (docs/accounts.md). */
  OAUTH_ISSUER?: string;
  OAUTH_CLIENT_ID?: string;
  OAUTH_CLIENT_SECRET?: string;
  /** What the button says: `Sign in with <name>`; the provider's host if not set. */
  OAUTH_NAME?: string;
  /** How long the record of what was done is kept, days; 90 if not set. */
  AUDIT_DAYS?: string;
  /** Size of the finished jobs that one space keeps at most, MiB; 1024 if not set. */
  MAX_KEPT_MB?: string;
  /** Size of the output files that one attempt may send, MiB; 1024 if not set. */
  MAX_OUTPUT_MB?: string;
  /** The address under which clients reach the edge, if it is not the one that the edge sees. */
  PUBLIC_URL?: string;
  /** Addresses and ranges of the proxies whose `X-Forwarded-…` and `Forwarded` are believed, comma-separated. */
  TRUSTED_PROXIES?: string;
  /** The origins whose pages may call the API, comma-separated; those of any if not set, or `*`. */
  CORS_ORIGINS?: string;
  /**
   * Set by `npm start`, when the edge runs on one machine. `"true"`: only this machine can dial it. `"network"`:
   * other machines can, too.
   */
  LOCAL?: string;
  /** `true`: this edge's machine may sleep while the memory of its objects is kept (decision 0050). */
  MAY_STAND_STILL?: string;
}

const checked = new WeakSet<Env>();

/**
 * Checks the settings, once for each `env`.
 *
 * @throws {Error} if a secret is missing or weak: it names the setting and never its value
 */
export function checkEnv(env: Env): void {
  if (checked.has(env)) return;
  const error = settingsError(env);
  if (error !== null) throw new Error(error);
  checked.add(env);
}

/** Whether the edge runs on one's own server, where no Cloudflare stands before it. */
export function isOwnServer({ LOCAL }: Env): boolean {
  return LOCAL === "true" || LOCAL === "network";
}

/**
 * Whether this machine's own requests are not limited, and may have webhooks sent to private addresses. An edge
 * that the operator has made public gives these rights to nobody: strangers come through a proxy on the same
 * machine, and look like it.
 */
export function hasLocalRights({ LOCAL, PUBLIC_URL, TRUSTED_PROXIES }: Env): boolean {
  return LOCAL === "true" && PUBLIC_URL === undefined && TRUSTED_PROXIES === undefined;
}

const proxiesOf = new WeakMap<Env, TrustedProxies | null>();

/** The proxies that the operator trusts; `null` if none. Those on one's own server are trusted with them. */
export function trustedProxiesOf(env: Env): TrustedProxies | null {
  const known = proxiesOf.get(env);
  if (known !== undefined) return known;
  const { TRUSTED_PROXIES: text } = env;
  const own = isOwnServer(env) ? ", 127.0.0.0/8, ::1" : "";
  const proxies = text === undefined ? null : TrustedProxies.parse(text + own);
  proxiesOf.set(env, proxies);
  return proxies;
}

const originsOf = new WeakMap<Env, ReadonlySet<string> | null>();

/** The origins whose pages may call the API; `null`: those of any. */
export function corsOriginsOf(env: Env): ReadonlySet<string> | null {
  const known = originsOf.get(env);
  if (known !== undefined) return known;
  const { CORS_ORIGINS: text = ANY_ORIGIN } = env;
  const origins = text.trim() === ANY_ORIGIN ? null : new Set(readOrigins(text) ?? []);
  originsOf.set(env, origins);
  return origins;
}
