import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import type { ProgramAnswer, ProgramCalls } from "./programs/child.ts";

/** A call fails when it takes this much longer than its expected time. */
const PATIENCE_MS = 60_000;
const KEPT_OUTPUT = 4_000;

interface PendingCall {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** A script of `bench/programs` in a process of its own; `C` are the calls it answers. */
export class ChildProgram<C extends ProgramCalls> {
  private readonly script: string;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, PendingCall>();
  private readonly closed: Promise<void>;
  private lastId = 0;
  private printed = "";

  /** `temp` is the folder for temporary files of the program and of what it starts. */
  constructor(script: string, temp: string) {
    this.script = script;
    this.child = spawn(process.execPath, [join(import.meta.dirname, "programs", script)], {
      env: { ...process.env, TMPDIR: temp, CLOUDFLARE_CF_FETCH_ENABLED: "false" },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      detached: true,
    });
    this.child.on("message", (answer: ProgramAnswer) => this.onAnswer(answer));
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
        if (error) reject(new Error(`${this.script} has ended\n${this.printed}`));
      });
    }).finally(() => {
      clearTimeout(timer);
      this.waiting.delete(id);
    }) as Promise<Awaited<ReturnType<C[N]>>>;
  }

  /** Kills the program and all it started: nothing it stores is used after the turn. */
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

  private onAnswer(answer: ProgramAnswer): void {
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
