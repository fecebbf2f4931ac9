import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { OBJECTS, ROOT } from "../../scripts/local.ts";

export const OPERATOR_KEY = "an-operator-key-for-tests";
const SIGNING_KEY = "a-signing-key-for-tests";
export const JWT_SECRET = "a-secret-for-the-tokens-of-tests";

/** Bundles the Worker exactly as a deploy does. */
export function bundleEdge(folder: string): void {
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  const args = [wrangler, "deploy", "--dry-run", "--outdir", folder];
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false" };
  const run = spawnSync(process.execPath, args, { cwd: ROOT, env, encoding: "utf8" });
  if (run.status !== 0) throw new Error(run.stdout + run.stderr);
}

/**
 * Runs the bundle in workerd, without the proxy of `wrangler dev`: it starts within a third of a
 * second, and nothing slows its requests down. It has no pages.
 *
 * @param secrets the edge's secrets, where they are not those of this file
 */
export async function serveBundle(
  bundle: string,
  state: string,
  port: number,
  secrets: Record<string, string> = {},
): Promise<Miniflare> {
  const options = convertV4MiniflareOptions({
    host: "127.0.0.1",
    port,
    cf: false,
    name: "dialout",
    modules: true,
    scriptPath: join(bundle, "index.js"),
    modulesRoot: bundle,
    compatibilityDate: "2026-10-23",
    compatibilityFlags: ["nodejs_compat"],
    durableObjects: Object.fromEntries(
      Object.entries(OBJECTS).map(([binding, className]) => [
        binding,
        { className, useSQLite: true },
      ]),
    ),
    d1Databases: { DB: "dialout" },
    r2Buckets: { FILES: "dialout-files" },
    bindings: {
      OPERATOR_KEY,
      SIGNING_KEY,
      JWT_SECRET,
      LOCAL: "true",
      MAY_STAND_STILL: "true",
      ...secrets,
    },
  });
  options.resourcePersistencePath = state;
  const miniflare = new Miniflare(options);
  await miniflare.ready;
  await makeTables(miniflare);
  return miniflare;
}

/** Makes the tables of all migrations, in one batch: either all of them are there or none. */
async function makeTables(miniflare: Miniflare): Promise<void> {
  const db = await miniflare.getD1Database("DB");
  const present = await db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'spaces'").first();
  if (present !== null) return;
  const folder = join(ROOT, "migrations");
  // A comment may have a semicolon in it.
  const scripts = readdirSync(folder)
    .toSorted()
    .map((name) => readFileSync(join(folder, name), "utf8").replaceAll(/--.*$/gm, ""));
  const statements = scripts.flatMap((script) => script.split(";"));
  const nonEmpty = statements.filter((statement) => statement.trim() !== "");
  await db.batch(nonEmpty.map((statement) => db.prepare(statement)));
}
