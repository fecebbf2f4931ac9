import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isBrokenMust, lineOf } from "../../worker-client/conformance/report.ts";
import { runSuite } from "../../worker-client/conformance/suite.ts";
import { PLANTED_FAULTS, type PlantedFault } from "./planted-faults.ts";

const TINY = join(import.meta.dirname, "tiny-worker-program.ts");
const AT_ONCE = 5;

function commandFor(fault: string): string[] {
  // The words of a command are all that the suite is given.
  const [program, ...options] = ["/usr/bin/env", `BREAK=${fault}`, process.execPath];
  return [program ?? "", ...options, "--no-warnings", TINY];
}

describe("the conformance suite", () => {
  it("finds nothing that must not be in a small worker which keeps the rules", async () => {
    const reports = await runSuite({ command: commandFor(""), parallel: 8 });
    expect(reports.filter(isBrokenMust).map(lineOf)).toEqual([]);
    const kept = reports.filter(({ verdict }) => verdict.outcome === "kept");
    expect(kept.length).toBeGreaterThan(40);
  });

  it("finds every fault that is planted in it", async () => {
    const faults = Object.keys(PLANTED_FAULTS) as PlantedFault[];
    const waiting = [...faults];
    const missed: string[] = [];
    const isFound = async (fault: PlantedFault, patienceS: number) => {
      const rule = PLANTED_FAULTS[fault];
      const options = { command: commandFor(fault), only: [rule], parallel: 3, patienceS };
      const found = (await runSuite(options)).find((report) => report.rule === rule);
      return found?.verdict.outcome === "broken";
    };
    const work = async () => {
      for (let fault = waiting.shift(); fault !== undefined; fault = waiting.shift()) {
        // A machine that does much else may need longer for what comes before the fault.
        const wasFound = (await isFound(fault, 4)) || (await isFound(fault, 15));
        if (!wasFound) missed.push(fault);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    expect(missed).toEqual([]);
  });

  it("says what is wrong with a command that is no worker", async () => {
    const command = [process.execPath, "-e", "console.error('no model here'); process.exit(3)"];
    const reports = await runSuite({ command, only: ["W1", "W9"] });
    const lines = reports.map(lineOf);
    expect(lines[0]).toContain("W1 broken");
    expect(lines[0]).toContain("no model here");
    expect(lines[1]).toBe("W9 not tried: W1 was broken before");
  });
});
