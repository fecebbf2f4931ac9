import { availableParallelism } from "node:os";
import path from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const runtime = cloudflareTest(async () => ({
  wrangler: { configPath: "./wrangler.toml" },
  miniflare: {
    bindings: {
      TEST_MIGRATIONS: await readD1Migrations(path.join(import.meta.dirname, "migrations")),
      OPERATOR_KEY: "an-operator-key-for-tests",
      SIGNING_KEY: "a-signing-key-for-tests",
      JWT_SECRET: "a-secret-for-the-tokens-of-tests",
      LOCAL: "true",
      MAX_KEPT_MB: "4",
    },
  },
}));

const RUNTIME = path.join(import.meta.dirname, "test/support/runtime/cloudflare-workers.ts");

/** A poll waits for an event as long as a test may: a second is too short for a machine that does other work. */
const PATIENT = { poll: { timeout: 20_000 } };

/** Files whose tests start an edge of their own, and measure no times: two of them can run at once. */
const OWN_EDGES = [
  "account-pages",
  "foreign-clients",
  "monitor",
  "oauth",
  "proxy",
  "python-worker",
  "python-worker-frames",
  "revocation",
  "start",
  "stopping",
].map((name) => `test/e2e/${name}.test.ts`);

const E2E = { testTimeout: 120_000, expect: PATIENT, hookTimeout: 120_000 };

/**
 * `node`: pure logic and programs over real sockets. `workerd`: objects inside the real runtime.
 * `e2e`: the whole of it as its users meet it, one file at a time after the others; `e2e-own`: the same, two at a time.
 */
export default defineConfig({
  test: {
    // Vitest leaves one core idle, and has but one to use where there are two.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        // Objects that a test runs in Node.js (`test/support/runtime`) find their base class there.
        resolve: { alias: { "cloudflare:workers": RUNTIME } },
        test: {
          name: "node",
          include: ["test/**/*.test.ts"],
          exclude: ["test/objects/**", "test/e2e/**"],
          testTimeout: 30_000,
          expect: PATIENT,
          hookTimeout: 120_000,
        },
      },
      {
        plugins: [runtime],
        test: {
          name: "workerd",
          include: ["test/objects/**/*.test.ts"],
          setupFiles: ["./test/objects/setup.ts"],
          testTimeout: 30_000,
          expect: PATIENT,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: OWN_EDGES,
          globalSetup: ["./test/e2e/setup.ts"],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          ...E2E,
        },
      },
      {
        test: {
          name: "e2e-own",
          include: OWN_EDGES,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
          ...E2E,
        },
      },
    ],
  },
});
