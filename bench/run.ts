/** Measures Dialout beside its peers, on this machine, in one run: docs/benchmarks.md. */
import process from "node:process";
import { bundleAll } from "./bundles.ts";
import { describeMachine } from "./machine.ts";
import { type Options, readOptions, USAGE } from "./options.ts";
import { installPeers, installServers } from "./prepare.ts";
import { type Outcome, outcomeOf, type Report, save } from "./results.ts";
import { leaveNothingBehind, Stage } from "./stage.ts";
import { connections } from "./suites/connections.ts";
import { cost } from "./suites/cost.ts";
import { depth } from "./suites/depth.ts";
import { fanout } from "./suites/fanout.ts";
import { http } from "./suites/http.ts";
import { type Measured, NotThere, type Pace, type Subject, type Suite } from "./suites/suite.ts";
import { work } from "./suites/work.ts";
import { tableOf } from "./table.ts";

const SUITES = [work, http, depth, cost, fanout, connections];

leaveNothingBehind();
await main();

async function main(): Promise<void> {
  const options = optionsOrExit();
  const suites = chosen(options);
  installPeers();
  installServers();
  const machine = describeMachine();
  console.log(`${machine.cpu}, ${machine.cores} cores, load ${machine.load_before}`);
  const stage = new Stage();
  await bundleAll(stage);
  const report: Report = {
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
  await stage.close();
}

function optionsOrExit(): Options {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** The suites with the subjects that were asked for. */
function chosen({ only }: Options): Suite[] {
  if (only === null) return SUITES;
  const names = SUITES.flatMap(({ name, subjects }) => [name, ...subjects.map((one) => one.name)]);
  const unknown = [...only].filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(", ")}. There are: ${names.join(", ")}`);
    process.exit(2);
  }
  return SUITES.map((suite) => ({
    ...suite,
    subjects: suite.subjects.filter(({ name }) => only.has(suite.name) || only.has(name)),
  })).filter(({ subjects }) => subjects.length > 0);
}

/** Rounds in which every subject has its turn: what drifts, drifts for all. */
async function runSuite(suite: Suite, options: Options): Promise<Outcome> {
  const leftOut = new Map<string, string>();
  for (const { name, missing } of suite.subjects) {
    const reason = missing?.() ?? null;
    if (reason !== null) leftOut.set(name, reason);
  }
  const rounds: Map<string, Measured>[] = [];
  const count = Math.min(options.rounds, suite.maxRounds ?? options.rounds);
  const pace = { ms: options.seconds * 1_000, warmMs: Math.min(2, options.seconds) * 1_000 };
  for (let round = 1; round <= count; round += 1) {
    const measured = new Map<string, Measured>();
    rounds.push(measured);
    for (const subject of suite.subjects.filter(({ name }) => !leftOut.has(name))) {
      progress(`${suite.name}: round ${round} of ${count}, ${subject.name}`);
      const outcome = await takeTurn(subject, pace);
      if (typeof outcome === "string") leftOut.set(subject.name, outcome);
      else measured.set(subject.name, outcome);
    }
  }
  progress("");
  return outcomeOf(suite, rounds, leftOut);
}

/** What it measured, or why it could not be: the others go on. */
async function takeTurn(subject: Subject, pace: Pace): Promise<Measured | string> {
  const stage = new Stage();
  try {
    return await subject.measure(stage, pace);
  } catch (error) {
    if (error instanceof NotThere) return error.message;
    process.exitCode = 1;
    return `failed: ${error instanceof Error ? error.message : error}`;
  } finally {
    await stage.close();
  }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}
