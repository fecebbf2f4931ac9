import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** A program of this project as its own process, with what it prints. */
export class Program {
  readonly exited: Promise<number | null>;
  private readonly child: ChildProcess;
  private text = "";
  private ended = false;
  private wake: () => void = () => undefined;

  /** A script that Node.js runs; or with `command` a program of any kind. */
  constructor(
    script: string,
    args: string[],
    env: Record<string, string> = {},
    command: string = process.execPath,
  ) {
    this.child = spawn(command, [script, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (piece: string) => {
        this.text += piece;
        this.wake();
      });
    }
    this.exited = new Promise((resolve) =>
      this.child.once("close", (code) => {
        this.ended = true;
        this.wake();
        resolve(code);
      }),
    );
  }

  get printed(): string {
    return this.text;
  }

  /** Resolves once the program has printed this; throws if it ends without. */
  async prints(wanted: string | RegExp): Promise<void> {
    while (this.text.search(wanted) < 0) {
      if (this.ended) throw new Error(`The program ended without "${wanted}":\n${this.text}`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }

  /** Kills it and all it started at once, as a power cut would. */
  async killAll(): Promise<void> {
    const { pid } = this.child;
    if (pid !== undefined) for (const one of withDescendants(pid)) killQuietly(one);
    await this.exited;
  }

  /** Kills those it started whose command line has this in it. */
  killStarted(words: string): void {
    const { pid } = this.child;
    if (pid === undefined) return;
    for (const one of withDescendants(pid)) {
      if (one !== pid && readFileSync(`/proc/${one}/cmdline`, "utf8").includes(words)) {
        killQuietly(one);
      }
    }
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Linux only: parents are read from /proc. */
function withDescendants(root: number): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const parent = parentOf(name);
      return parent === null ? [] : [{ pid: Number(name), parent }];
    });
  const found = [root];
  for (const known of found) {
    found.push(...parents.filter(({ parent }) => parent === known).map(({ pid }) => pid));
  }
  return found;
}

function parentOf(pid: string): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
  } catch {
    return null;
  }
}
