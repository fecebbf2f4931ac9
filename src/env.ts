import { z } from "zod";
import type { SpaceObject } from "./space/space-object.ts";

/** What wrangler.toml binds. */
export interface Env {
  SPACE: DurableObjectNamespace<SpaceObject>;
  DB: D1Database;
  FILES: R2Bucket;
  ASSETS: Fetcher;
  OPERATOR_KEY: string;
  SIGNING_KEY: string;
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
