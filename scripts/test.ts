/** Runs the tests and ends with one line of counts that scripts can parse. */
import process from "node:process";
import { startVitest } from "vitest/node";

const vitest = await startVitest("test", process.argv.slice(2), { watch: false, run: true });
const tests = vitest.state.getTestModules().flatMap((module) => [...module.children.allTests()]);
const failedModules = vitest.state.getTestModules().filter((module) => !module.ok());
const count = (state: string) => tests.filter((test) => test.result().state === state).length;
const failed = Math.max(count("failed"), failedModules.length > 0 ? 1 : 0);
await vitest.close();
process.stdout.write(`${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped\n`);
process.exit(failed > 0 || vitest.state.getUnhandledErrors().length > 0 ? 1 : 0);
