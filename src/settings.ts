import { z } from "zod";
import { TrustedProxies } from "./auth/trusted-proxies.ts";
import { registration, spaceCreation } from "./protocol/accounts.ts";

const key = z.string().min(20, "must have 20 characters or more");
const jwtSecret = z.string().min(32, "must have 32 characters or more");

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
  CORS_ORIGINS: z
    .string()
    .refine(
      (text) => text.trim() === ANY_ORIGIN || readOrigins(text) !== null,
      "must be *, or origins separated by commas, such as https://app.example, http://localhost:3000",
    )
    .optional(),
  MAX_KEPT_MB: z
    .string()
    .regex(/^\d{1,5}$/, "must be a number")
    .optional(),
  MAX_OUTPUT_MB: z
    .string()
    .regex(/^[1-9]\d{0,6}$/, "must be a number from 1")
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
  OAUTH_ISSUER: z.url({ protocol: /^https?$/, error: "must be an address" }).optional(),
  OAUTH_CLIENT_ID: z.string().min(1, "must not be empty").optional(),
  OAUTH_CLIENT_SECRET: z.string().min(1, "must not be empty").optional(),
  OAUTH_NAME: z.string().max(40, "must have 40 characters or fewer").optional(),
  JWT_SECRET: jwtSecret,
  JWT_SECRET_FORMER: jwtSecret.optional(),
  JWKS_URL: z.url({ protocol: /^https?$/, error: "must be an address" }).optional(),
  GATEWAYS: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, "must be a number from 1")
    .optional(),
  OPERATOR_KEY: key,
  OPERATOR_KEY_FORMER: key.optional(),
  SIGNING_KEY: key,
  SIGNING_KEY_FORMER: key.optional(),
});

/** Lets pages of any origin call the API. */
export const ANY_ORIGIN = "*";

/** The origins in a list separated by commas, as browsers write them; `null` if it has anything else. */
export function readOrigins(text: string): string[] | null {
  const given = text.split(",").map((origin) => origin.trim());
  return given.every(isOrigin) ? given.map((origin) => new URL(origin).origin) : null;
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, origin, href } = new URL(text);
  return /^https?:$/.test(protocol) && href === `${origin}/`;
}

/** What is wrong with the settings, without their values; `null` if nothing is. */
export function settingsError(env: object): string | null {
  const result = settings.safeParse(env);
  if (result.success) return null;
  const names = result.error.issues.map((issue) => {
    const isChoice = issue.code === "invalid_value";
    const wrong = isChoice ? `must be one of ${issue.values.join(", ")}` : issue.message;
    return `${issue.path.join(".")} ${wrong}`;
  });
  return `Set these (docs/deploy.md): ${names.join("; ")}`;
}
