import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/local.ts";
import { Program } from "../support/program.ts";

/** An edge of its own: the program of `npm run edge`, with a port and a state folder for itself. */
export interface RunningEdge {
  url: string;
  state: string;
  program: Program;
}

export async function runEdge(state: string, port: number): Promise<RunningEdge> {
  const program = new Program(join(ROOT, "scripts/start.ts"), ["--no-worker"], {
    PORT: String(port),
    DIALOUT_STATE: state,
  });
  await program.prints("Dialout is up.");
  return { url: `http://127.0.0.1:${port}`, state, program };
}

export function makeState(): Promise<string> {
  return mkdtemp(join(tmpdir(), "dialout-state-"));
}

export function removeState(state: string): Promise<void> {
  return rm(state, { recursive: true, force: true });
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}
