import { join } from "node:path";
import { inject } from "vitest";
import { operatorKey, ROOT, secret } from "../../scripts/local.ts";
import { Program } from "../support/program.ts";
import type { RunningEdge } from "./edge.ts";

/**
 * Starts the edge alone, without pages: for tests that kill and restart it. It takes a tenth of the time that
 * `runEdge` takes. End it with `killAll`.
 */
export async function runBareEdge(state: string, port: number): Promise<RunningEdge> {
  const script = join(ROOT, "test/support/edge-program.ts");
  const secrets = { OPERATOR_KEY: operatorKey(), JWT_SECRET: secret("JWT_SECRET") };
  const args = [inject("edgeBundle"), state, String(port), JSON.stringify(secrets)];
  const program = new Program(script, args);
  await program.prints("ready");
  return { url: `http://127.0.0.1:${port}`, program };
}
