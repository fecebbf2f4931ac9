import type { TestProject } from "vitest/node";
import { freePort } from "../support/port.ts";
import { makeState, removeState, runEdge } from "./edge.ts";

/** One edge for all tests over real sockets; each test has a space of its own. */
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
