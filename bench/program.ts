import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import type { Answer, Calls } from "./programs/child.ts";

/** A call may take this much longer than it was asked to. */
const PATIENCE_MS = 60_000;
const KEPT_OUTPUT = 4_000;

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** A script of `bench/programs` as its own process; `C` are the calls it answers. */
export class Program<C extends Calls> {
  private readonly script: string;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, Waiting>();
  private readonly closed: Promise<void>;
  private lastId = 0;
  private printed = "";

  /** `temp` is where it and what it starts may leave temporary files. */
  constructor(script: string, temp: string) {
    this.script = script;
    this.child = spawn(process.execPath, [join(import.meta.dirname, "programs", script)], {
      env: { ...process.env, TMPDIR: temp, CLOUDFLARE_CF_FETCH_ENABLED: "false" },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      detached: true,
    });
    this.child.on("message", (answer: Answer) => this.answered(answer));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (piece: string) => {
        this.printed = (this.printed + piece).slice(-KEPT_OUTPUT);
      });
    }
    this.closed = new Promise((resolve) => this.child.once("close", () => resolve()));
    this.child.once("exit", () => this.failAll("ended"));
  }

  call<N extends keyof C & string>(
    name: N,
    argument: Parameters<C[N]>[0],
    expectedMs = 0,
  ): Promise<Awaited<ReturnType<C[N]>>> {
    this.lastId += 1;
    const id = this.lastId;
    const withinMs = expectedMs + PATIENCE_MS;
    const timer = setTimeout(() => {
      const error = new Error(`${this.script} did not answer ${name} within ${withinMs / 1_000} s`);
      this.waiting.get(id)?.reject(error);
    }, withinMs);
    return new Promise<unknown>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.child.send({ id, name, argument }, (error) => {
        if (error) reject(new Error(`${this.script} is gone\n${this.printed}`));
      });
    }).finally(() => {
      clearTimeout(timer);
      this.waiting.delete(id);
    }) as Promise<Awaited<ReturnType<C[N]>>>;
  }

  /** Ends it and all it started; nothing it keeps outlives its turn, so that no goodbye is needed. */
  async stop(): Promise<void> {
    this.kill();
    await this.closed;
  }

  kill(): void {
    if (this.child.pid === undefined) return;
    try {
      process.kill(-this.child.pid, "SIGKILL");
    } catch {
      // The whole group has ended.
    }
  }

  private answered(answer: Answer): void {
    const waiting = this.waiting.get(answer.id);
    if (answer.ok) waiting?.resolve(answer.value);
    else waiting?.reject(new Error(`${this.script}: ${answer.error}\n${this.printed}`));
  }

  private failAll(how: string): void {
    for (const { reject } of this.waiting.values()) {
      reject(new Error(`${this.script} ${how}\n${this.printed}`));
    }
  }
}
