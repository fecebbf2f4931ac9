/** Plants faults at random and says which of them no test notices: see CONTRIBUTING.md. */
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import fc from "fast-check";
import { type Mutant, mutantsOf, plant } from "./mutants.ts";
import { reach } from "./reach.ts";
import { Session } from "./session.ts";
import { copyTree, removeTree } from "./tree-copy.ts";

type Outcome = "found" | "found by its time" | "found by types" | "survived";

interface Planted {
  file: string;
  line: number;
  kind: string;
  diff: string;
  outcome: Outcome;
  noticedBy: string | null;
}

const { values: options, positionals: places } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "30" },
    tests: { type: "string", multiple: true },
    patience: { type: "string", default: "15" },
    report: { type: "string" },
  },
});
if (places.length === 0) {
  console.error(
    "Name folders or files: npm run mutate -- --seed 1 --count 30 src/queue [--tests test/objects/queue]",
  );
  process.exit(1);
}

const root = process.cwd();
const copy = copyTree(root);
const session = new Session(copy);
const end = () => {
  session.end();
  removeTree(copy);
};
process.on("exit", end);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(1));
}

const nodeTests = globSync("test/**/*.test.ts", {
  cwd: copy,
  exclude: ["test/objects/**", "test/e2e/**"],
}).sort();
/** The file that had a fault in the last run, which Vitest has to read again. */
let hadFault: string | null = null;
const testsReaching = await reach(copy, nodeTests);
for (const place of places) await runPlace(place);
process.exit(0);

async function runPlace(place: string): Promise<void> {
  const mutants = await sample(place);
  const startedAt = performance.now();
  const durations = await durationsOf([...new Set(mutants.flatMap(({ file }) => testsFor(file)))]);
  const usualMs = performance.now() - startedAt;
  const planted: Planted[] = [];
  for (const mutant of mutants) {
    const took = (test: string) => durations[test] ?? 0;
    const order = (test: string) => (isNamedFor(test, mutant.file) ? 0 : took(test));
    const tests = testsFor(mutant.file)
      .filter((test) => test in durations)
      .sort((a, b) => order(a) - order(b));
    const one = await tryMutant(mutant, tests, usualMs);
    planted.push(one);
    const by = one.noticedBy ?? (one.outcome === "survived" ? `none of ${tests.length} files` : "");
    console.log(
      `${planted.length}/${mutants.length} ${one.outcome}: ${one.file}:${one.line} ${by}`,
    );
    if (one.outcome === "survived") console.log(one.diff);
    save(place, planted);
  }
  const survived = planted.filter(({ outcome }) => outcome === "survived").length;
  console.log(`${place}: ${planted.length} faults planted, ${survived} survived`);
}

/** `test/queue/deadline.test.ts` is named for `src/queue/deadline.ts`: the most telling test comes first. */
function isNamedFor(test: string, file: string): boolean {
  return path.basename(test).startsWith(path.basename(file, path.extname(file)));
}

function testsFor(file: string): string[] {
  const wanted = options.tests;
  if (wanted === undefined) return testsReaching(file);
  const all = [...nodeTests, ...globSync("test/objects/*.test.ts", { cwd: copy })];
  return all.filter((test) => wanted.some((part) => test.includes(part)));
}

/** How long each test file takes without a fault. Files that fail even so, or take too long, are left out. */
async function durationsOf(tests: string[]): Promise<Record<string, number>> {
  const reply = await runTests(tests, null, 30 * 60_000);
  const failing = tests.find((test) => reply?.noticedBy?.startsWith(test));
  if (failing !== undefined) {
    console.log(`left out, it doesn't pass: ${failing}`);
    return durationsOf(tests.filter((test) => test !== failing));
  }
  if (reply === null || reply.noticedBy !== null) {
    throw new Error(
      `Without a fault the tests don't pass: ${reply?.noticedBy ?? "they take long"}`,
    );
  }
  const kept = Object.entries(reply.durations).filter(([test, ms]) => {
    const isQuick = ms <= Number(options.patience) * 1000;
    if (!isQuick) console.log(`left out, it takes too long: ${test}`);
    return isQuick;
  });
  return Object.fromEntries(kept);
}

/** @param hasFault the file in which a fault is planted now */
function runTests(tests: string[], hasFault: string | null, timeoutMs: number) {
  const changed = [hadFault, hasFault].filter((file) => file !== null);
  hadFault = hasFault;
  return session.run({ changed, tests }, timeoutMs);
}

async function tryMutant(mutant: Mutant, tests: string[], usualMs: number): Promise<Planted> {
  const original = readFileSync(path.join(copy, mutant.file), "utf8");
  const target = path.join(copy, mutant.file);
  writeFileSync(target, plant(original, mutant));
  try {
    const reply = await runTests(tests, mutant.file, 3 * usualMs + 30_000);
    let outcome: Outcome = reply === null ? "found by its time" : "found";
    if (reply?.noticedBy === null)
      outcome = passesTypes(mutant.file) ? "survived" : "found by types";
    return { ...describe(mutant, original), outcome, noticedBy: reply?.noticedBy ?? null };
  } finally {
    writeFileSync(target, original);
  }
}

/** Only what was changed since the last time is checked again: a whole check takes longer than most tests. */
function passesTypes(file: string): boolean {
  const config = file.startsWith("src/") ? "tsconfig.json" : "tsconfig.node.json";
  const info = `types-of-${config}`;
  const args = ["-p", config, "--incremental", "--tsBuildInfoFile", info];
  try {
    execFileSync(path.join(root, "node_modules/.bin/tsc"), args, { cwd: copy });
    return true;
  } catch {
    return false;
  }
}

function describe(mutant: Mutant, text: string): Pick<Planted, "file" | "line" | "kind" | "diff"> {
  const from = text.lastIndexOf("\n", mutant.start - 1) + 1;
  const to = text.indexOf("\n", mutant.end);
  const before = text.slice(from, to);
  const after = text.slice(from, mutant.start) + mutant.replacement + text.slice(mutant.end, to);
  const marked = (sign: string, part: string) => part.replace(/^/gm, `${sign} `);
  return {
    file: mutant.file,
    line: text.slice(0, mutant.start).split("\n").length,
    kind: mutant.kind,
    diff: `${marked("-", before)}\n${marked("+", after)}`,
  };
}

function save(place: string, planted: Planted[]): void {
  const count = (outcome: Outcome) => planted.filter((one) => one.outcome === outcome).length;
  const report = {
    place,
    seed: options.seed,
    planted: planted.length,
    survived: count("survived"),
    foundByTypes: count("found by types"),
    foundByTime: count("found by its time"),
    faults: planted,
  };
  const name = `${place.replaceAll("/", "-")}-${options.seed}.json`;
  const file = options.report ?? path.join(root, "test/output/mutation", name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

/** As many of the place's faults as asked for, in the order of their files, so that tests are measured once. */
async function sample(place: string): Promise<Mutant[]> {
  const files = statSync(place).isDirectory() ? globSync(`${place}/**/*.{ts,tsx}`).sort() : [place];
  const all = await Promise.all(
    files.map((file) => mutantsOf(file, readFileSync(path.join(copy, file), "utf8"))),
  );
  const faults = all.flat();
  const length = Math.min(Number(options.count), faults.length);
  const draw = fc.shuffledSubarray(faults, { minLength: length, maxLength: length });
  const [drawn = []] = fc.sample(draw, { seed: Number(options.seed), numRuns: 1 });
  console.log(`${place}: ${drawn.length} of ${faults.length} faults, seed ${options.seed}`);
  return drawn.sort((a, b) => a.file.localeCompare(b.file) || a.start - b.start);
}
