import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../scripts/local.ts";
import { ChildProgram } from "./child-program.ts";
import type { ProgramCalls } from "./programs/child.ts";

const sandboxes = new Set<Sandbox>();

/** The folder and the programs of one turn, removed and killed when it is over. */
export class Sandbox {
  readonly folder: string;
  private readonly temp: string;
  private readonly programs: ChildProgram<ProgramCalls>[] = [];

  constructor() {
    const local = join(ROOT, ".wrangler");
    mkdirSync(local, { recursive: true });
    this.folder = mkdtempSync(join(local, "bench-"));
    this.temp = join(this.folder, "tmp");
    mkdirSync(this.temp);
    sandboxes.add(this);
  }

  launch<C extends ProgramCalls>(script: string): ChildProgram<C> {
    const program = new ChildProgram<C>(script, this.temp);
    this.programs.push(program as unknown as ChildProgram<ProgramCalls>);
    return program;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async close(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.stop()));
    this.remove();
  }

  /** Synchronous, for the exit of the process, which waits for no promise. */
  closeNow(): void {
    for (const program of this.programs) program.kill();
    this.remove();
  }

  private remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    sandboxes.delete(this);
  }
}

/** However this process ends, closes every sandbox first. */
export function cleanUpOnExit(): void {
  process.on("exit", () => {
    for (const sandbox of sandboxes) sandbox.closeNow();
  });
  for (const [signal, code] of [
    ["SIGINT", 130] as const,
    ["SIGTERM", 143] as const,
    ["SIGHUP", 129] as const,
  ]) {
    process.on(signal, () => process.exit(code));
  }
}
