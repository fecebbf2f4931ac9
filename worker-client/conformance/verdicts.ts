import { RULES, type RuleId } from "./rules.ts";

export type Verdict =
  | { outcome: "kept" }
  | { outcome: "broken"; why: string }
  | { outcome: "untried"; why: string };

/** A rule was broken in a way that the scenario can't go on after. */
export class Broken extends Error {
  readonly rule: RuleId;

  constructor(rule: RuleId, why: string) {
    super(why);
    this.rule = rule;
  }
}

/** A scenario can't try its rules with this worker, for no fault of the worker. */
export class Untried extends Error {}

/** What is known of each rule. One that was broken once stays broken. */
export class Verdicts {
  readonly #verdicts = new Map<RuleId, Verdict>();

  kept(rule: RuleId): void {
    if (this.#verdicts.get(rule)?.outcome !== "broken")
      this.#verdicts.set(rule, { outcome: "kept" });
  }

  broken(rule: RuleId, why: string): void {
    if (this.#verdicts.get(rule)?.outcome === "broken") return;
    this.#verdicts.set(rule, { outcome: "broken", why });
  }

  untried(rule: RuleId, why: string): void {
    if (!this.#verdicts.has(rule)) this.#verdicts.set(rule, { outcome: "untried", why });
  }

  isBroken(rule: RuleId): boolean {
    return this.#verdicts.get(rule)?.outcome === "broken";
  }

  /** Whether nothing is known of the rule. */
  isOpen(rule: RuleId): boolean {
    return (this.#verdicts.get(rule)?.outcome ?? "untried") === "untried";
  }

  /** Every rule of the suite, in its order. */
  all(): { rule: RuleId; verdict: Verdict }[] {
    const unasked: Verdict = { outcome: "untried", why: "it was not asked for" };
    return (Object.keys(RULES) as RuleId[]).map((rule) => ({
      rule,
      verdict: this.#verdicts.get(rule) ?? unasked,
    }));
  }
}
