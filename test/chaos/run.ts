/**
 * Runs load over an edge and its workers, kills them with kill -9 at random moments, and checks what
 * clients observed: `npm run chaos -- --seconds 60 --seed 7`. Exits with 1 if a guarantee was broken.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { chaos } from "./chaos.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
  },
});
const { violations, ...counts } = await chaos(Number(values.seconds), Number(values.seed));
console.table(counts);
for (const violation of violations) console.error(violation);
process.exit(violations.length > 0 ? 1 : 0);
