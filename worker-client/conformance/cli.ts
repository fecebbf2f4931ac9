#!/usr/bin/env node
/**
 * `dialout-conformance`: plays the edge for a worker in any language, and prints which rules of docs/protocol.md it
 * keeps.
 */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { isBrokenMust, lineOf, summaryOf } from "./report.ts";
import { RULES, type RuleId } from "./rules.ts";
import { runSuite } from "./suite.ts";

const EXIT_USAGE = 2;

interface CliOptions {
  only?: RuleId[];
  parallel: number;
  patience: number;
  strict: boolean;
  json: boolean;
  verbose: boolean;
}

const command = new Command("dialout-conformance")
  .description("Runs a worker through dialout.worker.v1 and prints which rules it keeps.")
  .usage("[options] -- <command that starts a worker>")
  .argument("<command...>", "in its words, {url}, {space} and {token} stand for these")
  .option("--only <rules>", "try these rules alone, such as W20a,W23", parseRules)
  .option("--parallel <n>", "how many workers run at once", parseCount, 6)
  .option("--patience <s>", "how long something that must come is waited for", parseCount, 10)
  .option("--strict", "end with 1 also if a rule with SHOULD is broken", false)
  .option("--json", "print one JSON object a rule", false)
  .option("--verbose", "print to standard error what is tried", false)
  .passThroughOptions()
  .exitOverride()
  .action(async (words: string[], options: CliOptions) => {
    process.exitCode = await run(words, options);
  });

async function run(words: string[], options: CliOptions): Promise<number> {
  const { only, parallel, patience, strict, json, verbose } = options;
  const onScenario = (name: string, state: string) =>
    verbose ? console.error(`${state}: ${name}`) : undefined;
  const reports = await runSuite({
    command: words,
    only,
    parallel,
    patienceS: patience,
    onScenario,
  });
  for (const report of reports) {
    const { rule, verdict } = report;
    console.log(json ? JSON.stringify({ rule, ...RULES[rule], ...verdict }) : lineOf(report));
  }
  if (!json) console.log(summaryOf(reports));
  const isBroken = ({ verdict }: (typeof reports)[number]) => verdict.outcome === "broken";
  return reports.some(strict ? isBroken : isBrokenMust) ? 1 : 0;
}

function parseRules(text: string): RuleId[] {
  return text.split(",").map((word) => {
    const rule = word.trim();
    if (rule in RULES) return rule as RuleId;
    throw new InvalidArgumentError(
      `No such rule: ${rule}. Known: ${Object.keys(RULES).join(", ")}.`,
    );
  });
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a whole number from 1 on.");
}

try {
  await command.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
}
