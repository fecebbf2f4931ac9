/**
 * Keeps one Vitest running, and runs in it the tests that its parent names. All of them are one file that imports
 * them, because a process for each file would take longer to start than most of them to run.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { BaseSequencer, createVitest, type TestCase, type TestSpecification } from "vitest/node";
import type { RunReply, RunRequest } from "./session.ts";

/** First what runs in Node.js, because that is quicker. */
class NodeFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]) {
    return specifications;
  }
}

const [root = process.cwd()] = process.argv.slice(2);
const vitest = await createVitest("test", {
  root,
  config: path.join(root, "vitest.config.ts"),
  watch: false,
  bail: 1,
  // A module that was loaded before its fault was planted must be loaded again.
  isolate: true,
  maxWorkers: 1,
  reporters: [{}],
  project: ["node", "workerd"],
  sequence: { sequencer: NodeFirst },
});
await vitest.standalone();

process.on("message", async ({ changed, tests }: RunRequest) => {
  for (const file of changed) vitest.invalidateFile(path.join(root, file));
  // `bail` counts what failed in earlier runs as well.
  vitest.state.idMap.clear();
  vitest.state.filesMap.clear();
  const objects = tests.filter((test) => test.startsWith("test/objects/"));
  const others = tests.filter((test) => !objects.includes(test));
  const specifications = [
    ...inOneFile("node", "test/all-of-these.test.ts", others),
    ...inOneFile("workerd", "test/objects/all-of-these.test.ts", objects),
  ];
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  const all = testModules.flatMap((module) => [...module.children.allTests()]);
  const failed = all.find((test) => test.result().state === "failed")?.fullName;
  const failedModule = testModules.find((module) => module.state() === "failed")?.errors()[0];
  const unhandled = unhandledErrors.length > 0 ? "an unhandled error" : null;
  reply({ durations: durationsOf(all), noticedBy: failed ?? failedModule?.message ?? unhandled });
});
process.send?.("ready");

function inOneFile(project: string, file: string, tests: string[]): TestSpecification[] {
  if (tests.length === 0) return [];
  const target = path.join(root, file);
  const lines = tests.map((test) => {
    const from = path.relative(path.dirname(target), path.join(root, test));
    return `describe(${JSON.stringify(test)}, async () => void (await import("./${from}")));`;
  });
  writeFileSync(target, [`import { describe } from "vitest";`, ...lines, ""].join("\n"));
  vitest.invalidateFile(target);
  return [vitest.getProjectByName(project).createSpecification(target)];
}

function durationsOf(tests: TestCase[]): Record<string, number> {
  const durations: Record<string, number> = {};
  for (const test of tests) {
    const [file = ""] = test.fullName.split(" > ");
    if (test.result().state !== "passed") continue;
    durations[file] = (durations[file] ?? 0) + (test.diagnostic()?.duration ?? 0);
  }
  return durations;
}

function reply(answer: RunReply): void {
  process.send?.(answer);
}
