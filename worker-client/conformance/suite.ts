import { randomBytes } from "node:crypto";
import type { RuleId } from "./rules.ts";
import { CARRYING } from "./scenarios/carrying.ts";
import { CLOSING } from "./scenarios/closing.ts";
import { ENDINGS } from "./scenarios/endings.ts";
import { FILES } from "./scenarios/files.ts";
import { OUTPUTS } from "./scenarios/outputs.ts";
import { REGISTERING } from "./scenarios/registering.ts";
import { RESUMING } from "./scenarios/resuming.ts";
import { type Scenario, Trial } from "./trial.ts";
import { type Verdict, Verdicts } from "./verdicts.ts";
import type { WorkerCommand } from "./worker-program.ts";

/** Those that take longest come first, so that all of it ends sooner. */
export const SCENARIOS: readonly Scenario[] = [
  ...CLOSING,
  ...RESUMING,
  ...CARRYING,
  ...FILES,
  ...OUTPUTS,
  ...ENDINGS,
  ...REGISTERING,
];

export interface SuiteOptions {
  command: WorkerCommand;
  /** Tries only scenarios about these rules. */
  only?: readonly RuleId[];
  /** How many workers run at once. */
  parallel?: number;
  /** How long something that must come is waited for, seconds. */
  patienceS?: number;
  /** Called when a scenario begins and when it has ended. */
  onScenario?(name: string, state: "begun" | "ended"): void;
}

/** Runs a worker through the protocol, and returns what is known of each rule. */
export async function runSuite(
  options: SuiteOptions,
): Promise<{ rule: RuleId; verdict: Verdict }[]> {
  const { command, only, parallel = 6, patienceS = 10, onScenario = () => {} } = options;
  const verdicts = new Verdicts();
  const token = `dow_${randomBytes(24).toString("base64url")}`;
  const deps = { command, token, verdicts, patienceMs: patienceS * 1_000 };
  const wanted = SCENARIOS.filter(
    ({ rules }) => only === undefined || rules.some((rule) => only.includes(rule)),
  );
  const waiting = [...wanted];
  const ids: WorkerRun[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      // A program that dials nothing would be waited for again and again.
      if (verdicts.isBroken("W1")) {
        for (const rule of next.rules) verdicts.untried(rule, "W1 was broken before");
        continue;
      }
      onScenario(next.name, "begun");
      const from = Date.now();
      const id = await Trial.run(next, deps);
      if (id !== null) ids.push({ id, from, to: Date.now() });
      onScenario(next.name, "ended");
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  checkIds(ids, verdicts);
  // What was found by the way counts too: a program that never dials tries nothing else.
  return verdicts
    .all()
    .filter(
      ({ rule, verdict }) =>
        only === undefined || only.includes(rule) || verdict.outcome === "broken",
    );
}

interface WorkerRun {
  id: string;
  from: number;
  to: number;
}

/** Each scenario has a process of its own: those that ran at the same time have different ids. */
function checkIds(runs: readonly WorkerRun[], verdicts: Verdicts): void {
  const same = runs.find(({ id, from, to }, index) =>
    runs.slice(0, index).some((other) => other.id === id && other.from < to && from < other.to),
  );
  if (same !== undefined) verdicts.broken("W6a", `two processes had the id "${same.id}" at once`);
}
