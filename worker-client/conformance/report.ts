import { RULES, type RuleId } from "./rules.ts";
import type { Verdict } from "./verdicts.ts";

export interface RuleReport {
  rule: RuleId;
  verdict: Verdict;
}

/** One line a rule, such as `W20a kept` or `W9 broken: …`. */
export function lineOf({ rule, verdict }: RuleReport): string {
  if (verdict.outcome === "kept") return `${rule} kept: ${RULES[rule].text}`;
  if (verdict.outcome === "untried") return `${rule} not tried: ${verdict.why}`;
  const level = RULES[rule].level === "should" ? " (a SHOULD)" : "";
  return `${rule} broken${level}: ${verdict.why}. The rule: ${RULES[rule].text}`;
}

export function summaryOf(reports: readonly RuleReport[]): string {
  const count = (outcome: Verdict["outcome"]) =>
    reports.filter(({ verdict }) => verdict.outcome === outcome).length;
  const must = reports.filter(isBrokenMust).length;
  return `${count("kept")} kept, ${count("broken")} broken (${must} of them a MUST), ${count("untried")} not tried`;
}

/** Whether a rule that every worker must keep is broken. */
export function isBrokenMust({ rule, verdict }: RuleReport): boolean {
  return verdict.outcome === "broken" && RULES[rule].level === "must";
}
