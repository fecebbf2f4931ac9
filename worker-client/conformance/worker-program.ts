import { type ChildProcess, spawn } from "node:child_process";

/** How a worker is started: a program and its arguments, in which `{url}`, `{space}` and `{token}` stand for these. */
export type WorkerCommand = readonly string[];

export interface WorkerSettings {
  url: string;
  space: string;
  token: string;
}

const MOST_PRINTED = 100_000;

/** The worker under test, in a process of its own. */
export class WorkerProgram {
  readonly exited: Promise<void>;
  hasExited = false;
  printed = "";
  readonly #child: ChildProcess;

  constructor(command: WorkerCommand, settings: WorkerSettings) {
    const { url, space, token } = settings;
    const [program = "", ...args] = command.map((word) =>
      word.replaceAll("{url}", url).replaceAll("{space}", space).replaceAll("{token}", token),
    );
    this.#child = spawn(program, args, {
      env: { ...process.env, DIALOUT_URL: url, DIALOUT_SPACE: space, DIALOUT_TOKEN: token },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, so that what the command starts ends with it.
      detached: process.platform !== "win32",
    });
    const keep = (piece: Buffer) => {
      this.printed = (this.printed + piece.toString()).slice(-MOST_PRINTED);
    };
    this.#child.stdout?.on("data", keep);
    this.#child.stderr?.on("data", keep);
    this.exited = new Promise((resolve) => {
      const onEnd = () => {
        this.hasExited = true;
        resolve();
      };
      this.#child.once("close", onEnd).once("error", (error) => {
        this.printed += error.message;
        onEnd();
      });
    });
  }

  /** Asks the worker to end, as an operator or the system does. */
  terminate(): void {
    this.#signal("SIGTERM");
  }

  async kill(): Promise<void> {
    if (!this.hasExited) this.#signal("SIGKILL");
    await this.exited;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      if (process.platform === "win32") this.#child.kill(signal);
      else process.kill(-pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}
