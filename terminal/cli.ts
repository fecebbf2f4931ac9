#!/usr/bin/env node
// Checks the version before it loads what an older Node.js can't read, and could only print a stack about.
const LEAST = 20;
if (Number.parseInt(process.versions.node, 10) < LEAST) {
  console.error(`dialout needs Node.js ${LEAST} or newer, and this is v${process.versions.node}.`);
  process.exit(2);
}
await import("./program.ts");

export {};
