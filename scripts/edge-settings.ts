/** The optional settings of an edge on one's own server: from the environment, or from `.dev.vars`. */
import process from "node:process";
import { settingsError } from "../src/settings.ts";
import { DEV_VARS, LISTENS_ON_LOOPBACK, localVariables } from "./local.ts";

/** wrangler passes on no other variable of `.dev.vars` than the secrets. */
const OPTIONAL = [
  "PUBLIC_URL",
  "TRUSTED_PROXIES",
  "CORS_ORIGINS",
  "JWKS_URL",
  "JWT_ISSUER",
  "JWT_AUDIENCE",
  "GATEWAYS",
  "MAX_KEPT_MB",
  "MAX_OUTPUT_MB",
  "JOBS_PER_MINUTE",
  "REGISTRATION",
  "AUDIT_DAYS",
  "SPACE_CREATION",
  "MAX_SPACES_PER_USER",
  "OAUTH_ISSUER",
  "OAUTH_CLIENT_ID",
  "OAUTH_NAME",
];

/** Exits with a message if a setting is wrong: the edge itself could only answer every request with an error. */
export function readSettings(): Record<string, string> {
  const variables = localVariables();
  const chosen = OPTIONAL.flatMap((name) => {
    const value = process.env[name] || variables[name];
    return value ? [[name, value] as const] : [];
  });
  const settings = Object.fromEntries(chosen);
  const error = settingsError({ ...variables, ...settings });
  if (error !== null) {
    console.error(`${error}\nThey are set in the environment, or in ${DEV_VARS}.`);
    process.exit(2);
  }
  return { ...settings, LOCAL: LISTENS_ON_LOOPBACK ? "true" : "network", MAY_STAND_STILL: "true" };
}
