import { z } from "zod";
import { TrustedProxies } from "./auth/trusted-proxies.ts";
import { registration, spaceCreation } from "./protocol/accounts.ts";

const settings = z.object({
  PUBLIC_URL: z
    .string()
    .refine(isOrigin, "must be an address without a path, such as https://dialout.example")
    .optional(),
  TRUSTED_PROXIES: z
    .string()
    .refine(
      (text) => TrustedProxies.parse(text) !== null,
      "must be addresses or ranges separated by commas, such as 127.0.0.1, 10.0.0.0/8",
    )
    .optional(),
  MAX_KEPT_MB: z
    .string()
    .regex(/^\d{1,5}$/, "must be a number")
    .optional(),
  JOBS_PER_MINUTE: z
    .string()
    .regex(/^[1-9]\d{0,6}$/, "must be a number from 1")
    .optional(),
  AUDIT_DAYS: z
    .string()
    .regex(/^[1-9]\d{0,4}$/, "must be a number of days")
    .optional(),
  SPACE_CREATION: spaceCreation.optional(),
  MAX_SPACES_PER_USER: z
    .string()
    .regex(/^[1-9]\d{0,5}$/, "must be a number from 1")
    .optional(),
  REGISTRATION: registration.optional(),
  JWT_SECRET: z.string().min(32, "must have 32 characters or more"),
  JWKS_URL: z.url({ protocol: /^https?$/, error: "must be an address" }).optional(),
  GATEWAYS: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, "must be a number from 1")
    .optional(),
  OPERATOR_KEY: z.string().min(20, "must have 20 characters or more"),
  SIGNING_KEY: z.string().min(20, "must have 20 characters or more"),
});

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, origin, href } = new URL(text);
  return /^https?:$/.test(protocol) && href === `${origin}/`;
}

/** What is wrong with the settings, without their values; `null` if nothing is. */
export function settingsError(env: object): string | null {
  const result = settings.safeParse(env);
  if (result.success) return null;
  const names = result.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
  return `Set these (docs/deploy.md): ${names.join("; ")}`;
}
