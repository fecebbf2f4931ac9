/** An edge as a process that can be killed: `edge-program.ts <bundle> <state> <port>`. */
import process from "node:process";
import { serveBundle } from "../support/bare-edge.ts";

const [bundle = "", state = "", port = ""] = process.argv.slice(2);
await serveBundle(bundle, state, Number(port));
console.log("ready");
