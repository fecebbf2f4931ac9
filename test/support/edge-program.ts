/** An edge as a process that can be killed: `edge-program.ts <bundle> <state> <port> [secrets as JSON]`. */
import process from "node:process";
import { serveBundle } from "./bare-edge.ts";

const [bundle = "", state = "", port = "", secrets = "{}"] = process.argv.slice(2);
await serveBundle(bundle, state, Number(port), JSON.parse(secrets));
console.log("ready");
