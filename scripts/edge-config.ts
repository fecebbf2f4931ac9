/** The configuration with which wrangler runs the edge on one's own server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localVariables, ROOT } from "./local.ts";

/** Secrets that not every edge has. */
const OPTIONAL_SECRETS = [
  "OPERATOR_KEY_FORMER",
  "SIGNING_KEY_FORMER",
  "JWT_SECRET_FORMER",
  "OAUTH_CLIENT_SECRET",
];
/** Beside wrangler.toml, since its paths begin there. */
const CONFIG = join(ROOT, "wrangler.more-secrets.toml");

/**
 * The arguments that make wrangler pass on the optional secrets in `.dev.vars`. It passes on those alone that its
 * configuration requires; on its command line every program of this machine could read them.
 */
export function configArguments(): string[] {
  const variables = localVariables();
  const found = OPTIONAL_SECRETS.filter((name) => variables[name]);
  if (found.length === 0) return [];
  const text = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
  writeFileSync(CONFIG, withRequired(text, found));
  return ["--config", CONFIG];
}

/** @param names are required besides the secrets that the text requires already */
export function withRequired(text: string, names: readonly string[]): string {
  const more = names.map((name) => `, ${JSON.stringify(name)}`).join("");
  const changed = text.replace(/^(required = \[.*)\]$/m, `$1${more}]`);
  if (changed === text) throw new Error("wrangler.toml has no line of required secrets");
  return changed;
}
