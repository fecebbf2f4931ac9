import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RULE_OF_FRAME, RULES, type RuleId } from "../../worker-client/conformance/rules.ts";
import { SCENARIOS } from "../../worker-client/conformance/suite.ts";
import { PLANTED_FAULTS } from "./planted-faults.ts";

const PROTOCOL = readFileSync(join(import.meta.dirname, "../../docs/protocol.md"), "utf8");
const ids = Object.keys(RULES) as RuleId[];
/** It is written down together with the schema of a space. */
const TO_COME = ["W35"];

describe("the rules that the conformance suite knows", () => {
  it("stand in docs/protocol.md", () => {
    const missing = ids.filter((id) => !PROTOCOL.includes(`- **${id}** `));
    expect(missing.filter((id) => !TO_COME.includes(id))).toEqual([]);
  });

  it("are each tried by a scenario", () => {
    const tried = new Set<RuleId>([...SCENARIOS.flatMap(({ rules }) => rules)]);
    expect(ids.filter((id) => !tried.has(id))).toEqual([]);
    expect(Object.values(RULE_OF_FRAME).filter((id) => !ids.includes(id))).toEqual([]);
  });

  it("are SHOULD and MUST; most that every worker must keep have a planted fault", () => {
    const planted = new Set<RuleId>(Object.values(PLANTED_FAULTS));
    const unplanted = ids.filter((id) => RULES[id].level === "must" && !planted.has(id));
    // These are shown by programs that are no workers, or are seen beside others.
    expect(unplanted).toEqual(["C6b", "W1", "W7c", "W17", "W19b", "W30b"]);
  });
});
