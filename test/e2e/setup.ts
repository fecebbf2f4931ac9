import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleEdge } from "../support/bare-edge.ts";
import { freePort } from "../support/port.ts";
import { makeState, removeState, runEdge } from "./edge.ts";

/** Starts one edge for all e2e tests; each test makes a space of its own. Bundles it for tests that start others. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const state = await makeState();
  const bundle = await mkdtemp(join(tmpdir(), "dialout-bundle-"));
  const edge = await runEdge(state, await freePort());
  bundleEdge(bundle);
  project.provide("edgeUrl", edge.url);
  project.provide("edgeBundle", bundle);
  return async () => {
    await edge.program.stop();
    await removeState(state);
    await removeState(bundle);
  };
}

declare module "vitest" {
  interface ProvidedContext {
    edgeUrl: string;
    /** The folder that `bundleEdge` has filled. */
    edgeBundle: string;
  }
}
