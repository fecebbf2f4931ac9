import { once } from "node:events";
import { performance } from "node:perf_hooks";
import process from "node:process";
import type { WebSocket } from "ws";
import { type BenchFrame, openSocket, senderOn } from "./socket.ts";

const HEARTBEAT_MS = 10_000;

/** Where a worker dials, and how it runs jobs. */
export interface DialoutWorkerOptions {
  url: string;
  token: string;
  /** How many jobs it runs at the same time. */
  concurrency: number;
  /** Answers no job before `release` is called. */
  holdResults?: boolean;
  /** How many milliseconds a job takes; 0: it is answered at once. */
  runMs?: number;
}

/** A remote worker that answers every job with its input. It speaks the protocol itself, on `ws`. */
export class DialoutWorker {
  private socket: WebSocket | null = null;
  private send: (text: string) => void = () => undefined;
  private readonly unanswered: BenchFrame[] = [];
  /** How many jobs it may still answer. */
  private allowed: number;
  private acks = 0;
  private onAck: () => void = () => undefined;
  private readonly runMs: number;
  private readonly registered = Promise.withResolvers<void>();

  private constructor(allowed: number, runMs: number) {
    this.allowed = allowed;
    this.runMs = runMs;
  }

  /** Resolves once the edge has registered it. */
  static async connect(options: DialoutWorkerOptions): Promise<DialoutWorker> {
    const { url, token, concurrency, holdResults = false, runMs = 0 } = options;
    const worker = new DialoutWorker(holdResults ? 0 : Number.POSITIVE_INFINITY, runMs);
    const headers = { authorization: `Bearer ${token}` };
    worker.socket = await openSocket(url, (frame) => worker.onFrame(frame), headers);
    worker.send = senderOn(worker.socket);
    const identity = { worker_id: `bench-${process.pid}`, name: "bench", concurrency };
    worker.socket.send(JSON.stringify({ type: "register", ...identity }));
    await worker.registered.promise;
    setInterval(() => worker.socket?.send("ping"), HEARTBEAT_MS);
    return worker;
  }

  /** How many results the edge has acknowledged. */
  get acknowledged(): number {
    return this.acks;
  }

  /** Answers `jobs` jobs; resolves with the milliseconds until the last result is acknowledged. */
  release(jobs: number): Promise<number> {
    const startedAt = performance.now();
    const until = this.acks + jobs;
    return new Promise((resolve) => {
      this.onAck = () => {
        if (this.acks === until) resolve(performance.now() - startedAt);
      };
      this.allowed = jobs;
      for (const job of this.unanswered.splice(0, jobs)) this.answer(job);
    });
  }

  async disconnect(): Promise<void> {
    const { socket } = this;
    socket?.removeAllListeners("close").close(1000);
    if (socket) await once(socket, "close");
  }

  private onFrame(frame: BenchFrame): void {
    if (frame.type === "job") {
      if (this.allowed > 0) this.answer(frame);
      else this.unanswered.push(frame);
    } else if (frame.type === "ack") {
      this.acks += 1;
      this.onAck();
    } else if (frame.type === "registered") this.registered.resolve();
    else if (frame.type === "error") throw new Error(`${frame.code}: ${frame.message}`);
  }

  private answer({ job_id, attempt, input }: BenchFrame): void {
    this.allowed -= 1;
    const result = JSON.stringify({ type: "result", job_id, attempt, output: input });
    if (this.runMs === 0) this.send(result);
    else setTimeout(() => this.send(result), this.runMs);
  }
}
