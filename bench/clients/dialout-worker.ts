import { once } from "node:events";
import { performance } from "node:perf_hooks";
import process from "node:process";
import type { WebSocket } from "ws";
import { type Frame, openSocket, senderOn } from "./socket.ts";

const HEARTBEAT_MS = 10_000;

/** How a worker dials, and how it works. */
export interface Dial {
  url: string;
  token: string;
  /** Jobs it takes at once. */
  concurrency: number;
  /** Answers no job before `release` says so. */
  held?: boolean;
  /** How long a job takes, milliseconds; 0: it is answered at once. */
  runMs?: number;
}

/** A remote worker on the plain wire: every job's result is its input. */
export class DialoutWorker {
  private socket: WebSocket | null = null;
  private send: (text: string) => void = () => undefined;
  private readonly holding: Frame[] = [];
  /** Jobs it may still answer. */
  private allowed: number;
  private acked = 0;
  private onAck: () => void = () => undefined;
  private readonly runMs: number;
  private readonly registered = Promise.withResolvers<void>();

  private constructor(allowed: number, runMs: number) {
    this.allowed = allowed;
    this.runMs = runMs;
  }

  /** Resolves once it is registered. */
  static async connect(dial: Dial): Promise<DialoutWorker> {
    const { url, token, concurrency, held = false, runMs = 0 } = dial;
    const worker = new DialoutWorker(held ? 0 : Number.POSITIVE_INFINITY, runMs);
    const headers = { authorization: `Bearer ${token}` };
    worker.socket = await openSocket(url, (frame) => worker.hear(frame), headers);
    worker.send = senderOn(worker.socket);
    const identity = { worker_id: `bench-${process.pid}`, name: "bench", concurrency };
    worker.socket.send(JSON.stringify({ type: "register", ...identity }));
    await worker.registered.promise;
    setInterval(() => worker.socket?.send("ping"), HEARTBEAT_MS);
    return worker;
  }

  /** Results the edge has acknowledged. */
  get answered(): number {
    return this.acked;
  }

  /** Answers so many jobs; the time until the last result is acknowledged, milliseconds. */
  release(jobs: number): Promise<number> {
    const startedAt = performance.now();
    const until = this.acked + jobs;
    return new Promise((resolve) => {
      this.onAck = () => {
        if (this.acked === until) resolve(performance.now() - startedAt);
      };
      this.allowed = jobs;
      for (const job of this.holding.splice(0, jobs)) this.answer(job);
    });
  }

  async leave(): Promise<void> {
    const { socket } = this;
    socket?.removeAllListeners("close").close(1000);
    if (socket) await once(socket, "close");
  }

  private hear(frame: Frame): void {
    if (frame.type === "job") {
      if (this.allowed > 0) this.answer(frame);
      else this.holding.push(frame);
    } else if (frame.type === "ack") {
      this.acked += 1;
      this.onAck();
    } else if (frame.type === "registered") this.registered.resolve();
    else if (frame.type === "error") throw new Error(`${frame.code}: ${frame.message}`);
  }

  private answer({ job_id, attempt, input }: Frame): void {
    this.allowed -= 1;
    const result = JSON.stringify({ type: "result", job_id, attempt, output: input });
    if (this.runMs === 0) this.send(result);
    else setTimeout(() => this.send(result), this.runMs);
  }
}
