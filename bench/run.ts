/** Compares Dialout with its peers on this machine, in one run; see docs/benchmarks.md. */
import process from "node:process";
import { bundleAll } from "./bundles.ts";
import { describeMachine } from "./machine.ts";
import { type BenchOptions, readOptions, USAGE } from "./options.ts";
import { installPeers, installServers } from "./prepare.ts";
import { type BenchReport, type SuiteResult, save, suiteResultOf } from "./results.ts";
import { cleanUpOnExit, Sandbox } from "./sandbox.ts";
import { connections } from "./suites/connections.ts";
import { cost } from "./suites/cost.ts";
import { depth } from "./suites/depth.ts";
import { fanout } from "./suites/fanout.ts";
import { http } from "./suites/http.ts";
import {
  type BenchSubject,
  type Measured,
  NotSupported,
  type Suite,
  type Timing,
} from "./suites/suite.ts";
import { work } from "./suites/work.ts";
import { tableOf } from "./table.ts";

const SUITES = [work, http, depth, cost, fanout, connections];

cleanUpOnExit();
await main();

async function main(): Promise<void> {
  const options = optionsOrExit();
  const suites = selectSuites(options);
  installPeers();
  installServers();
  const machine = describeMachine();
  console.log(`${machine.cpu}, ${machine.cores} cores, load ${machine.load_before}`);
  const sandbox = new Sandbox();
  await bundleAll(sandbox);
  const report: BenchReport = {
    measured_at: new Date().toISOString(),
    rounds: options.rounds,
    seconds: options.seconds,
    machine,
    suites: {},
  };
  for (const suite of suites) {
    const outcome = await runSuite(suite, options);
    report.suites[suite.name] = outcome;
    console.log(tableOf(suite, outcome));
  }
  if (options.save) console.log(`\nSaved as ${save(report)}`);
  await sandbox.close();
}

function optionsOrExit(): BenchOptions {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** The suites and subjects that `--only` names. */
function selectSuites({ only }: BenchOptions): Suite[] {
  if (only === null) return SUITES;
  const names = SUITES.flatMap(({ name, subjects }) => [
    name,
    ...subjects.map((subject) => subject.name),
  ]);
  const unknown = [...only].filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`There is nothing named ${unknown.join(", ")}. There are: ${names.join(", ")}`);
    process.exit(2);
  }
  return SUITES.map((suite) => ({
    ...suite,
    subjects: suite.subjects.filter(({ name }) => only.has(suite.name) || only.has(name)),
  })).filter(({ subjects }) => subjects.length > 0);
}

/** Gives every subject one turn a round, so that a slow phase of the machine affects all of them. */
async function runSuite(suite: Suite, options: BenchOptions): Promise<SuiteResult> {
  const leftOut = new Map<string, string>();
  for (const { name, missing } of suite.subjects) {
    const reason = missing?.() ?? null;
    if (reason !== null) leftOut.set(name, reason);
  }
  const rounds: Map<string, Measured>[] = [];
  const count = Math.min(options.rounds, suite.maxRounds ?? options.rounds);
  const timing = { ms: options.seconds * 1_000, warmMs: Math.min(2, options.seconds) * 1_000 };
  for (let round = 1; round <= count; round += 1) {
    const measured = new Map<string, Measured>();
    rounds.push(measured);
    for (const subject of suite.subjects.filter(({ name }) => !leftOut.has(name))) {
      progress(`${suite.name}: round ${round} of ${count}, ${subject.name}`);
      const outcome = await takeTurn(subject, timing);
      if (typeof outcome === "string") leftOut.set(subject.name, outcome);
      else measured.set(subject.name, outcome);
    }
  }
  progress("");
  return suiteResultOf(suite, rounds, leftOut);
}

/** Returns the measurement, or the reason why there is none; the other subjects go on. */
async function takeTurn(subject: BenchSubject, timing: Timing): Promise<Measured | string> {
  const sandbox = new Sandbox();
  try {
    return await subject.measure(sandbox, timing);
  } catch (error) {
    if (error instanceof NotSupported) return error.message;
    process.exitCode = 1;
    return `failed: ${error instanceof Error ? error.message : error}`;
  } finally {
    await sandbox.close();
  }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}
