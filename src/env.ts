import { z } from "zod";
import type { JobObject } from "./backend-job/job-object.ts";
import type { GatewayObject } from "./gateway/gateway-object.ts";
import type { MonitorObject } from "./monitor/monitor-object.ts";
import type { RoomObject } from "./room/room-object.ts";
import type { SpaceObject } from "./space/space-object.ts";

/** What wrangler.toml binds. */
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
  /** Signs the tokens of users (HS256). */
  JWT_SECRET: string;
  /** Where the public keys are by which users' tokens are checked instead. */
  JWKS_URL?: string;
  /** What a token's `iss` and `aud` must be, if set. */
  JWT_ISSUER?: string;
  JWT_AUDIENCE?: string;
  /** Gateways that share the sockets of one part of the world; 4 if not set. */
  GATEWAYS?: string;
  /** Counts submits by where they come from. */
  SUBMITS: RateLimit;
  /** Finished jobs that one space keeps at most, MiB; 1024 if not set. */
  MAX_KEPT_MB?: string;
  /** `"true"` on one's own machine: nobody is limited, and webhooks may go to any address. */
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

/** Throws, naming the setting and never its value, where a secret is missing or weak. */
export function checkEnv(env: Env): void {
  if (checked.has(env)) return;
  const result = settings.safeParse(env);
  if (!result.success) {
    const names = result.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
    throw new Error(`Set these (docs/deploy.md): ${names.join("; ")}`);
  }
  checked.add(env);
}
