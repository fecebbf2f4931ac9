import path from "node:path";
import { build, type Metafile } from "esbuild";

/**
 * Which files of test/objects test a folder of src/, the most telling first. The import graph can't say: every one
 * of them reaches everything through src/index.ts.
 */
const OBJECT_TESTS: [folder: string, tests: string[]][] = [
  [
    "src/backend-job",
    ["backend-jobs", "backend-job-sockets", "backend-job-reports", "backend-job-rate", "streams"],
  ],
  [
    "src/space/subscribers",
    ["follow", "waiting", "gap", "slow-job-subscribers", "submit-rate", "hibernation", "turns"],
  ],
  [
    "src/space/workers",
    ["queue", "order", "refused-frames", "deadlines", "leaving", "hibernation", "capabilities"],
  ],
  [
    "src/space",
    [
      "queue",
      "turns",
      "deferred-writes",
      "order",
      "deadlines",
      "cache",
      "idempotency",
      "retention",
      "batch",
      "waiting",
      "hibernation",
      "delivery",
    ],
  ],
  [
    "src/room",
    [
      "rooms",
      "rooms-http",
      "rooms-faults",
      "rooms-history",
      "presence-grace",
      "slow-room-subscribers",
      "rooms-property",
    ],
  ],
  [
    "src/gateway",
    ["shared-rooms", "rooms", "rooms-faults", "frame-order", "presence-grace", "slow-subscribers"],
  ],
  ["src/monitor", ["monitor", "monitor-access", "monitor-crash", "monitor-cost"]],
  ["src/objects", ["frame-order", "frame-batches", "close-quietly", "ping-texts", "hibernation"]],
  ["src/holder", ["revocation"]],
  [
    "src/auth",
    ["revocation", "minted-tokens", "addresses", "monitor-access", "rooms-http", "catalogue"],
  ],
  ["src/catalog", ["catalogue", "capabilities"]],
  ["src/files", ["files", "forms"]],
  ["src/webhooks", ["delivery", "turns"]],
  [
    "src/http",
    [
      "addresses",
      "forms",
      "batch",
      "files",
      "streams",
      "catalogue",
      "proxy",
      "compressed-bodies",
      "rooms-http",
      "backend-jobs",
      "submit-rate",
      "refusal-words",
      "exact-numbers",
    ],
  ],
];

/** The tests that may notice a fault in a file, the nearest first. */
export async function reach(
  root: string,
  nodeTests: string[],
): Promise<(file: string) => string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: nodeTests,
    bundle: true,
    packages: "external",
    format: "esm",
    platform: "node",
    metafile: true,
    write: false,
    outdir: "unused",
    logLevel: "silent",
  });
  const graph = new Map(nodeTests.map((test) => [test, distances(metafile, test)]));
  return (file) => [
    ...nodeTests
      .map((test) => ({ test, far: farness(test, file, graph.get(test)) }))
      .filter(({ far }) => far < Number.POSITIVE_INFINITY)
      .sort((a, b) => a.far - b.far)
      .map(({ test }) => test),
    ...objectTests(file),
  ];
}

function objectTests(file: string): string[] {
  const [, tests = []] = OBJECT_TESTS.find(([folder]) => file.startsWith(`${folder}/`)) ?? [];
  return tests.map((test) => `test/objects/${test}.test.ts`);
}

/** Tests in the folder that is named for the file's folder come first, imported or run as a program. */
function farness(test: string, file: string, imports?: Map<string, number>): number {
  const folder = path.dirname(file).replace(/^src\//, "");
  const isOwn = `${folder}/`.startsWith(`${path.dirname(test).replace(/^test\//, "")}/`);
  const imported = imports?.get(file);
  if (isOwn) return (imported ?? 100) / 1000;
  return imported ?? Number.POSITIVE_INFINITY;
}

/** How many imports lie between a test and each file it reaches. */
function distances({ inputs }: Metafile, test: string): Map<string, number> {
  const found = new Map([[test, 0]]);
  for (const [file, far] of found) {
    for (const { path: imported, external } of inputs[file]?.imports ?? []) {
      if (!external && !found.has(imported)) found.set(imported, far + 1);
    }
  }
  return found;
}
