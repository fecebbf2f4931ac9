/**
 * Runs one of this repository's programs: `node scripts/run.mjs scripts/start.ts [arguments]`. They are written in
 * TypeScript, which older versions of Node.js can't read; those would only print `ERR_UNKNOWN_FILE_EXTENSION`.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const LEAST = [22, 18];

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const isInstalled = existsSync(new URL("../node_modules", import.meta.url));
if (!isInstalled) fail(`Run \`npm install\` in ${ROOT} first.`);
if (major < LEAST[0] || (major === LEAST[0] && minor < LEAST[1])) {
  const newer = existsSync(new URL("../node_modules/.bin/node", import.meta.url))
    ? "there is one in node_modules, and `npm start`, `npm run` and `npm test` use it."
    : "run `npm install`, which puts one into node_modules; `npm start`, `npm run` and `npm test` use it.";
  fail(
    `This needs Node.js ${LEAST.join(".")} or newer, and this is v${process.versions.node}: ${newer}`,
  );
}

const [, , program, ...args] = process.argv;
if (program === undefined) fail("Name the program to run: node scripts/run.mjs scripts/start.ts");
const path = resolve(program);
process.argv = [process.argv[0], path, ...args];
await import(pathToFileURL(path).href);

/** @param {string} message */
function fail(message) {
  console.error(message);
  process.exit(1);
}
