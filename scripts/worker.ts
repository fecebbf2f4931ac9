/** Runs only the demo worker, for an edge that `npm run edge` or `npm start` runs here. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { DEMO_SPACE, EDGE_URL, ROOT, TOKEN_FILE } from "./local.ts";

const args = ["demo", "--url", EDGE_URL, "--space", DEMO_SPACE, "--token-file", TOKEN_FILE];
const cli = join(ROOT, "dist/worker-client/cli.js");
const worker = spawn(process.execPath, [cli, ...args, ...process.argv.slice(2)], {
  stdio: "inherit",
});
// Ctrl-C in a terminal reaches the worker too, which drains; this program waits until it has ended.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => (signal === "SIGTERM" ? worker.kill(signal) : undefined));
}
worker.once("exit", (code) => process.exit(code ?? 1));
