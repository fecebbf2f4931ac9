/** Runs only the demo worker, for an edge that `npm run edge` or `npm start` runs here. */
import { join } from "node:path";
import process from "node:process";
import { DEMO_SPACE, EDGE_URL, ROOT, TOKEN_FILE } from "./local.ts";
import { end, launch, whenToEnd } from "./processes.ts";

const args = ["demo", "--url", EDGE_URL, "--space", DEMO_SPACE, "--token-file", TOKEN_FILE];
const cli = join(ROOT, "dist/worker-client/cli.js");
const worker = launch(cli, [...args, ...process.argv.slice(2)]);
// The worker drains; a second signal makes it leave at once.
whenToEnd(() => void end(worker));
worker.once("exit", (code) => process.exit(code ?? 1));
