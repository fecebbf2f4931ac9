import { readFileSync } from "node:fs";
import { FrameSocket } from "./frame-socket.ts";
import type { Program } from "./program.ts";

/** How long the same action took, milliseconds. */
export interface Waits {
  p50: number;
  p95: number;
  worst: number;
  count: number;
}

/** What a client waited while nothing else happened, and what it waited beside an attack. */
export interface Comparison<T> {
  quiet: Waits;
  attacked: Waits;
  /** What the attack returned. */
  result: T;
}

/** So many actions are measured before the attack, and at least as many beside it. */
const SAMPLES = 40;
/** Pause between two actions: a client that never rests would measure itself. */
const PAUSE_MS = 10;
/** An action that takes longer counts as one that is never answered. */
const PATIENCE_MS = 60_000;

/** By what factor an attack may make another client wait longer. */
const ALLOWED_FACTOR = 4;
/**
 * A wait shorter than this disturbs nobody, whatever the factor: if the quiet value is 2 ms, other work of the
 * machine alone exceeds four times that.
 */
const GRACE_MS = 500;

/**
 * A client of the edge that does nothing wrong: it submits a job over a socket, its own worker completes the
 * job, and it waits for the result. So one round goes through the whole edge: both sockets, the queue, the disk.
 */
export class Bystander {
  private readonly worker: FrameSocket;
  private readonly viewer: FrameSocket;
  private rounds = 0;

  private constructor(worker: FrameSocket, viewer: FrameSocket) {
    this.worker = worker;
    this.viewer = viewer;
  }

  /**
   * @param space where it works; `token` is that of a worker, and the space must have a place for one
   * @param key the operator's, on an edge where strangers may not submit as many jobs as are measured
   */
  static async open(
    url: string,
    space: { name: string; token: string },
    key?: string,
  ): Promise<Bystander> {
    const worker = await FrameSocket.open(`${url}/api/spaces/${space.name}/connect`, {
      authorization: `Bearer ${space.token}`,
    });
    worker.send({ type: "register", worker_id: `bystander-${crypto.randomUUID()}` });
    await worker.next("registered");
    const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
    const viewer = await FrameSocket.open(`${url}/api/spaces/${space.name}/ws`, headers);
    return new Bystander(worker, viewer);
  }

  /** One job, from its submit until its result is here. */
  async round(): Promise<void> {
    const ref = ++this.rounds;
    this.viewer.send({ type: "submit", ref, input: { ref } });
    const { job_id, attempt } = await this.worker.next("job");
    this.worker.send({ type: "result", job_id, attempt, output: ref });
    await this.viewer.next((frame) => frame.job_id === job_id && frame.status === "completed");
  }

  /** Measures rounds without the attack, and then beside it. */
  async compare<T>(attack: () => Promise<T>): Promise<Comparison<T>> {
    return compareWaits(() => this.round(), attack);
  }

  close(): void {
    this.worker.close();
    this.viewer.close();
  }
}

/** Measures how long `action` takes while nothing else happens, and then while `attack` runs. */
export async function compareWaits<T>(
  action: () => Promise<unknown>,
  attack: () => Promise<T>,
): Promise<Comparison<T>> {
  // The first ones pay for what is set up once.
  await measureWaits(action, () => true, SAMPLES / 4);
  const quiet = await measureWaits(action, () => true);
  let isOver = false;
  const attacking = attack().finally(() => {
    isOver = true;
  });
  const [attacked, result] = await Promise.all([
    measureWaits(action, () => isOver),
    attacking,
  ] as const);
  return { quiet, attacked, result };
}

/** Throws if the attack made the other client wait more than four times as long as usual. */
export function assertUndisturbed({ quiet, attacked }: Comparison<unknown>): void {
  const allowed = Math.max(GRACE_MS, ALLOWED_FACTOR * quiet.p95);
  if (attacked.p95 < allowed) return;
  const text = (waits: Waits) => JSON.stringify(waits);
  throw new Error(
    `the attack disturbed another client: quiet ${text(quiet)}, attacked ${text(attacked)}, allowed ${allowed} ms`,
  );
}

/** Repeats `action` `count` times, and then until `isOver`. */
async function measureWaits(
  action: () => Promise<unknown>,
  isOver: () => boolean,
  count = SAMPLES,
): Promise<Waits> {
  const waits: number[] = [];
  while (waits.length < count || !isOver()) {
    const startedAt = performance.now();
    await withinPatience(action());
    waits.push(performance.now() - startedAt);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return summaryOf(waits);
}

async function withinPatience(action: Promise<unknown>): Promise<void> {
  const { promise: impatience, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`another client waited ${PATIENCE_MS} ms without an answer`)),
    PATIENCE_MS,
  );
  try {
    await Promise.race([action, impatience]);
  } finally {
    clearTimeout(timer);
  }
}

function summaryOf(waits: readonly number[]): Waits {
  const sorted = [...waits].sort((a, b) => a - b).map((wait) => Math.round(wait * 10) / 10);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p95: at(0.95), worst: sorted.at(-1) ?? 0, count: sorted.length };
}

const MEMORY_EVERY_MS = 20;

/** Watches the memory of a program and of all processes that it started. Linux only. */
export class MemoryWatch {
  /** Bytes before the attack. */
  readonly before: number;
  private readonly pids: readonly number[];
  private readonly timer: ReturnType<typeof setInterval>;
  private most: number;

  constructor(program: Program) {
    this.pids = program.pids();
    this.before = this.now();
    this.most = this.before;
    this.timer = setInterval(() => this.look(), MEMORY_EVERY_MS);
  }

  /** Bytes that all processes had at most at one time. */
  get peak(): number {
    this.look();
    return this.most;
  }

  /** By how many bytes the memory grew at most. */
  get growth(): number {
    return this.peak - this.before;
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    this.most = Math.max(this.most, this.now());
  }

  private now(): number {
    return this.pids.reduce((sum, pid) => sum + residentBytesOf(pid), 0);
  }
}

/** The memory of a process that is in RAM, bytes; 0 if the process has ended. */
function residentBytesOf(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
