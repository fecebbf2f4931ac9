import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { lineOf } from "../../worker-client/conformance/report.ts";
import type { RuleId } from "../../worker-client/conformance/rules.ts";
import { runSuite } from "../../worker-client/conformance/suite.ts";
import { PYTHON } from "../support/python-package.ts";

let folder: string;
let sample: string;

beforeAll(async () => {
  // Inside the project, so that the bundle finds its packages.
  await mkdir(join(ROOT, "test/output"), { recursive: true });
  folder = await mkdtemp(join(ROOT, "test/output/conformance-"));
  sample = join(folder, "sample.mjs");
  await build({
    entryPoints: [join(ROOT, "worker-client/conformance/sample-worker.ts")],
    outfile: sample,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the worker does not have, so that rules about it are not tried; fails on any rule that is broken. */
async function untriedBy(command: string[], only?: RuleId[]): Promise<RuleId[]> {
  const atOnce = only === undefined ? { parallel: 8 } : { parallel: 3, patienceS: 20 };
  const reports = await runSuite({ command, only, ...atOnce });
  const of = (outcome: string) => reports.filter(({ verdict }) => verdict.outcome === outcome);
  expect(of("broken").map(lineOf)).toEqual([]);
  return of("untried").map(({ rule }) => rule);
}

describe("workers keep the rules of the protocol", () => {
  it("the TypeScript library", async () => {
    expect(await untriedBy([process.execPath, sample])).toEqual(["W35"]);
  });

  it("the worker of docs/protocol.md in Python", async () => {
    const script = join(ROOT, "docs/examples/conformance.py");
    // It asks for no batches, has no schema, and sends no files.
    expect(await untriedBy([PYTHON, "-B", script])).toEqual(["C6b", "W35", "W36", "W36g"]);
  });

  it("the library in a tab of Chromium, where it differs from Node.js", async () => {
    const program = join(ROOT, "test/support/tab-worker-program.ts");
    const only: RuleId[] = ["C6b", "C17a", "W9", "W10", "W20a", "W25a", "W26"];
    expect(await untriedBy([process.execPath, "--no-warnings", program], only)).toEqual([]);
  });

  const PACKAGE = join(ROOT, "worker-client/python/src");

  it.runIf(existsSync(PACKAGE))("the Python package", async () => {
    const model = join(ROOT, "worker-client/conformance/sample_worker.py:perform");
    const env = ["/usr/bin/env", `PYTHONPATH=${PACKAGE}`, PYTHON, "-B", "-m", "dialout"];
    expect(await untriedBy([...env, "serve", model])).toEqual(["W35"]);
  });
});

describe("dialout-conformance", () => {
  const CLI = join(ROOT, "dist/worker-client/conformance.js");

  it("prints one line a rule, and ends with 1 if one is broken", async () => {
    const run = (...words: string[]) =>
      promisify(execFile)(process.execPath, [CLI, "--only", "W17,W20a", "--", ...words]);
    const { stdout } = await run(process.execPath, sample);
    expect(stdout).toMatch(/^W17 kept: .*\nW20a kept: .*\n2 kept, 0 broken/);
    const broken = run(process.execPath, "-e", "0");
    await expect(broken).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringContaining("W1 broken"),
    });
  });
});
