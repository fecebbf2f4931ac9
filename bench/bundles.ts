import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { ROOT } from "../scripts/local.ts";
import type { Sandbox } from "./sandbox.ts";

/** Paths of bundled scripts for workerd: Dialout, Dialout with a meter, and the peers. */
export interface Bundles {
  dialout: string;
  metered: string;
  peers: string;
  party: string;
}

let built: Bundles | null = null;

export function bundles(): Bundles {
  if (!built) throw new Error("nothing was bundled");
  return built;
}

export async function bundleAll(sandbox: Sandbox): Promise<void> {
  built = {
    dialout: bundleAsDeployed(sandbox.path("dialout")),
    metered: bundleAsDeployed(sandbox.path("metered"), "bench/edge/metered.ts"),
    peers: await bundlePeers("edge/peers.ts", sandbox.path("peers/peers.js")),
    party: await bundlePeers("edge/party.ts", sandbox.path("party/party.js")),
  };
}

/** Bundles exactly as a deploy does; without `entry`, the Worker of wrangler.toml. */
function bundleAsDeployed(folder: string, entry?: string): string {
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  const args = [wrangler, "deploy", ...(entry ? [entry] : []), "--dry-run", "--outdir", folder];
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false" };
  const run = spawnSync(process.execPath, args, { cwd: ROOT, env, encoding: "utf8" });
  if (run.status !== 0) throw new Error(run.stdout + run.stderr);
  return join(folder, entry ? "metered.js" : "index.js");
}

async function bundlePeers(entry: string, outfile: string): Promise<string> {
  await build({
    entryPoints: [join(import.meta.dirname, entry)],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd"],
    external: ["cloudflare:workers"],
    logLevel: "warning",
  });
  return outfile;
}
