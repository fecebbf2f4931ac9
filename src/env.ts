import { z } from "zod";
import type { JobObject } from "./backend-job/job-object.ts";
import type { GatewayObject } from "./gateway/gateway-object.ts";
import type { MonitorObject } from "./monitor/monitor-object.ts";
import type { RoomObject } from "./room/room-object.ts";
import type { SpaceObject } from "./space/space-object.ts";

/** The bindings, variables and secrets that wrangler.toml and the deployment set. */
export interface Env {
  SPACE: DurableObjectNamespace<SpaceObject>;
  JOB: DurableObjectNamespace<JobObject>;
  ROOM: DurableObjectNamespace<RoomObject>;
  GATEWAY: DurableObjectNamespace<GatewayObject>;
  MONITOR: DurableObjectNamespace<MonitorObject>;
  DB: D1Database;
  FILES: R2Bucket;
  ASSETS: Fetcher;
  OPERATOR_KEY: string;
  SIGNING_KEY: string;
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
  /** Limits how fast one address may submit jobs. */
  SUBMITS: RateLimit;
  /** Size of the finished jobs that one space keeps at most, MiB; 1024 if not set. */
  MAX_KEPT_MB?: string;
  /** `"true"` when the edge runs on one machine: no rate limits, and webhooks may go to any address. */
  LOCAL?: string;
}

const settings = z.object({
  MAX_KEPT_MB: z
    .string()
    .regex(/^\d{1,5}$/, "must be a number")
    .optional(),
  JWT_SECRET: z.string().min(32, "must have 32 characters or more"),
  JWKS_URL: z.url({ protocol: /^https?$/, error: "must be an address" }).optional(),
  GATEWAYS: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, "must be a number from 1")
    .optional(),
  OPERATOR_KEY: z.string().min(20, "must have 20 characters or more"),
  SIGNING_KEY: z.string().min(20, "must have 20 characters or more"),
});

const checked = new WeakSet<Env>();

/**
 * Checks the settings, once for each `env`.
 *
 * @throws {Error} if a secret is missing or weak: it names the setting and never its value
 */
export function checkEnv(env: Env): void {
  if (checked.has(env)) return;
  const result = settings.safeParse(env);
  if (!result.success) {
    const names = result.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
    throw new Error(`Set these (docs/deploy.md): ${names.join("; ")}`);
  }
  checked.add(env);
}
