import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import process from "node:process";
import { setTimeout as after } from "node:timers/promises";

export interface RunRequest {
  /** The files that are not as they were in the run before. */
  changed: string[];
  tests: string[];
}

export interface RunReply {
  /** How long the tests of each file took that passed, milliseconds. */
  durations: Record<string, number>;
  /** The first test that failed; `null` if all passed. */
  noticedBy: string | null;
}

/** A Vitest in a process of its own, so that a fault that loops for ever can be ended. */
export class Session {
  readonly #root: string;
  #child: ChildProcess | null = null;

  constructor(root: string) {
    this.#root = root;
  }

  /** `null` if the tests take longer than `timeoutMs`. */
  async run(request: RunRequest, timeoutMs: number): Promise<RunReply | null> {
    const child = await this.#start();
    const over = new AbortController();
    const { signal } = over;
    const reply = once(child, "message", { signal }).then(([message]) => message as RunReply);
    const ended = once(child, "exit", { signal }).then(() => null);
    const late = after(timeoutMs, null, { signal });
    const all = [reply, ended, late].map((one) => one.catch(() => null));
    child.send(request);
    const answer = await Promise.race(all);
    over.abort();
    if (answer === null) this.end();
    return answer;
  }

  end(): void {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || child.exitCode !== null) return;
    // The whole group: the runtime of the Durable Objects is a process of its own.
    process.kill(-child.pid, "SIGKILL");
  }

  async #start(): Promise<ChildProcess> {
    if (this.#child !== null && this.#child.exitCode === null) return this.#child;
    const program = path.join(import.meta.dirname, "session-program.ts");
    const child = fork(program, [this.#root], {
      cwd: this.#root,
      detached: true,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child = child;
    const over = new AbortController();
    const { signal } = over;
    const ready = once(child, "message", { signal }).then(() => true);
    const ended = once(child, "exit", { signal }).then(() => false);
    const isReady = await Promise.race([ready, ended].map((one) => one.catch(() => false)));
    over.abort();
    if (!isReady) throw new Error("Vitest doesn't start: `npx vitest list` shows why.");
    return child;
  }
}
