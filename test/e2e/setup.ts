import type { TestProject } from "vitest/node";
import { freePort } from "../support/port.ts";
import { makeState, removeState, runEdge } from "./edge.ts";

/** Starts one edge for all e2e tests; each test makes a space of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const state = await makeState();
  const edge = await runEdge(state, await freePort());
  project.provide("edgeUrl", edge.url);
  return async () => {
    await edge.program.stop();
    await removeState(state);
  };
}

declare module "vitest" {
  interface ProvidedContext {
    edgeUrl: string;
  }
}
