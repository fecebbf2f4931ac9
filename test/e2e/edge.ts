import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/local.ts";
import { Program } from "../support/program.ts";

/** A running edge, with a port and a state folder of its own. */
export interface RunningEdge {
  url: string;
  program: Program;
}

/** Starts `npm run edge`, or `npm start` if there are no arguments. */
export async function runEdge(
  state: string,
  port: number,
  args = ["--no-worker"],
  settings: Record<string, string> = {},
): Promise<RunningEdge> {
  const edge = launchEdge(state, port, args, settings);
  await edge.program.prints("Dialout is up.");
  return edge;
}

/** Starts the edge without waiting until it is up. */
export function launchEdge(
  state: string,
  port: number,
  args = ["--no-worker"],
  settings: Record<string, string> = {},
): RunningEdge {
  const env = { PORT: String(port), DIALOUT_STATE: state, ...settings };
  const program = new Program(join(ROOT, "scripts/start.ts"), args, env);
  return { url: `http://127.0.0.1:${port}`, program };
}

export function makeState(): Promise<string> {
  return mkdtemp(join(tmpdir(), "dialout-state-"));
}

export function removeState(state: string): Promise<void> {
  return rm(state, { recursive: true, force: true });
}
