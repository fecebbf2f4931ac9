/** Keeps one Vitest running, and runs in it the tests that its parent names, one file after the other. */
import path from "node:path";
import process from "node:process";
import { BaseSequencer, createVitest, type TestSpecification } from "vitest/node";
import type { RunReply, RunRequest } from "./session.ts";

class AsGiven extends BaseSequencer {
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
  maxWorkers: 1,
  reporters: [{}],
  project: ["node", "workerd"],
  sequence: { sequencer: AsGiven },
});
await vitest.standalone();
await vitest.globTestSpecifications();

process.on("message", async ({ changed, tests }: RunRequest) => {
  for (const file of changed) vitest.invalidateFile(path.join(root, file));
  // `bail` counts what failed in earlier runs as well.
  vitest.state.idMap.clear();
  vitest.state.filesMap.clear();
  const specifications = tests.flatMap((test) =>
    vitest.getModuleSpecifications(path.join(root, test)),
  );
  const startedAt = performance.now();
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
  const failedTest = testModules
    .flatMap((module) => [...module.children.allTests("failed")])
    .map((test) => `${test.module.relativeModuleId}: ${test.fullName}`)[0];
  const failedModule = testModules.find((module) => module.state() === "failed")?.relativeModuleId;
  const unhandled = unhandledErrors.length > 0 ? "an unhandled error" : undefined;
  reply({
    ranTests: testModules.flatMap((module) => [...module.children.allTests("passed")]).length,
    durationMs: performance.now() - startedAt,
    noticedBy: failedTest ?? failedModule ?? unhandled ?? null,
  });
});
process.send?.("ready");

function reply(answer: RunReply): void {
  process.send?.(answer);
}
