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

/**
 * Files about what all tests of a runtime share: its first admin, its first stored file, the numbers of all of it, and
 * the gateways with everybody's sockets.
 */
const OWN_RUNTIME = [
  "accounts",
  "expired-rights",
  "file-sweep",
  "former-secrets",
  "monitor",
  "monitor-access",
  "monitor-cost",
  "monitor-crash",
  "presence-grace",
  "rooms-faults",
  "rooms-property",
  "silent-sockets",
  "socket-limits",
  "token-expiry",
  "user-data",
].map((name) => `test/objects/${name}.test.ts`);

/** Files that measure memory, or how long something takes: nothing else may run beside them. */
const ALONE = [
  "chaos",
  "limits-answers",
  "limits-objects",
  "limits-sockets",
  "page",
  "sockets",
  "webhooks",
].map((name) => `test/e2e/${name}.test.ts`);

const WORKERD = {
  setupFiles: ["./test/objects/setup.ts"],
  testTimeout: 60_000,
  expect: PATIENT,
};

const E2E = { testTimeout: 120_000, expect: PATIENT, hookTimeout: 120_000 };

/**
 * `node`: pure logic and programs over real sockets. `workerd`: objects inside the real runtime. Files of both share a
 * process, which saves half their time (decision 0054); those of `workerd-own` have a runtime each.
 * `e2e`: the whole of it as its users meet it, two files at a time after the others; `e2e-alone`: the same, one at a time.
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
          isolate: false,
          testTimeout: 60_000,
          expect: PATIENT,
          hookTimeout: 120_000,
        },
      },
      {
        plugins: [runtime],
        test: {
          name: "workerd",
          include: ["test/objects/**/*.test.ts"],
          exclude: OWN_RUNTIME,
          isolate: false,
          ...WORKERD,
        },
      },
      {
        plugins: [runtime],
        test: { name: "workerd-own", include: OWN_RUNTIME, ...WORKERD },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: ALONE,
          globalSetup: ["./test/e2e/setup.ts"],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          ...E2E,
        },
      },
      {
        test: {
          name: "e2e-alone",
          include: ALONE,
          globalSetup: ["./test/e2e/setup.ts"],
          fileParallelism: false,
          sequence: { groupOrder: 2 },
          ...E2E,
        },
      },
    ],
  },
});
