import { defineConfig } from "vitest/config";

/** `node`: pure logic and programs over real sockets. `workerd`: objects inside the real runtime. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          include: ["test/**/*.test.ts"],
          exclude: ["test/objects/**"],
          testTimeout: 30_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
