import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** A program in a process of its own; everything it prints is kept. */
export class Program {
  readonly exited: Promise<number | null>;
  private readonly child: ChildProcess;
  private text = "";
  private ended = false;
  private wake: () => void = () => undefined;

  /** Runs `script` with Node.js, or with `command` any program, whose first argument `script` is. */
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

  /** Resolves once the program has printed `wanted`; throws if it ends without doing so. */
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

  /** The program's process, and those that it started, parents before children. */
  pids(): number[] {
    const { pid } = this.child;
    return pid === undefined || !isRunning(pid) ? [] : withDescendants(pid);
  }

  /** Kills the program and everything it started with SIGKILL, as a power cut would. */
  async killAll(): Promise<void> {
    const { pid } = this.child;
    if (pid !== undefined) for (const descendant of withDescendants(pid)) killQuietly(descendant);
    await this.exited;
  }

  /** Stops the program and everything it started for so long, as a machine that sleeps does. */
  async standStill(ms: number): Promise<void> {
    const pids = this.pids();
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, ms));
    for (const pid of pids) process.kill(pid, "SIGCONT");
  }

  /** Kills the processes it started whose command line contains `words`. */
  killStarted(words: string): void {
    const { pid } = this.child;
    if (pid === undefined) return;
    for (const descendant of withDescendants(pid)) {
      if (descendant === pid) continue;
      if (readFileSync(`/proc/${descendant}/cmdline`, "utf8").includes(words)) {
        killQuietly(descendant);
      }
    }
  }
}

/** Whether the process exists and has not ended. Linux only. */
export function isRunning(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0];
    return state !== "Z" && state !== "X";
  } catch {
    return false;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** Returns `root` and all its descendants. Linux only: parents are read from /proc. */
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
