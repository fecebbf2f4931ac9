import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../scripts/local.ts";
import { Program } from "./program.ts";
import type { Calls } from "./programs/child.ts";

const stages = new Set<Stage>();

/** What one turn of a subject runs on: a folder on the disk of this checkout, and programs. */
export class Stage {
  readonly folder: string;
  private readonly temp: string;
  private readonly programs: Program<Calls>[] = [];

  constructor() {
    const local = join(ROOT, ".wrangler");
    mkdirSync(local, { recursive: true });
    this.folder = mkdtempSync(join(local, "bench-"));
    this.temp = join(this.folder, "tmp");
    mkdirSync(this.temp);
    stages.add(this);
  }

  launch<C extends Calls>(script: string): Program<C> {
    const program = new Program<C>(script, this.temp);
    this.programs.push(program as unknown as Program<Calls>);
    return program;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async close(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.stop()));
    this.remove();
  }

  /** At once, for an exit that can't wait. */
  drop(): void {
    for (const program of this.programs) program.kill();
    this.remove();
  }

  private remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    stages.delete(this);
  }
}

/** However the run ends, nothing it started stays. */
export function leaveNothingBehind(): void {
  process.on("exit", () => {
    for (const stage of stages) stage.drop();
  });
  for (const [signal, code] of [
    ["SIGINT", 130] as const,
    ["SIGTERM", 143] as const,
    ["SIGHUP", 129] as const,
  ]) {
    process.on(signal, () => process.exit(code));
  }
}
