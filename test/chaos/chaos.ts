import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../scripts/local.ts";
import { bundleEdge, OPERATOR_KEY } from "../support/bare-edge.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";
import { PYTHON, PYTHON_ENV } from "../support/python-package.ts";
import { type History, violationsOf } from "./history.ts";
import { Load, type Random } from "./load.ts";

const SUBMITTERS = 6;
const WORKERS = 2;
const SETTINGS = {
  name: "chaos",
  offline: "queue",
  max_workers: WORKERS,
  max_attempts: 100,
  max_queue: 100_000,
  reconnect_grace_s: 1,
};

/** How much longer than asked a run may take while some kind of fault has not hit anything yet. */
const LONGEST_EXTENSION_MS = 60_000;

export interface ChaosReport {
  seed: number;
  edgeKills: number;
  workerKills: number;
  accepted: number;
  runs: number;
  /** Accepted jobs that a worker was running when it, and not the edge, was killed. */
  interrupted: number;
  /** Jobs that took more than one attempt. */
  takenBack: number;
  /** Number of events that followers received. */
  received: number;
  /** Number of followers' connections that resumed after an earlier one was cut. */
  resumed: number;
  violations: string[];
}

/**
 * Runs load and faults for `seconds`, both derived from `seed`; their timing depends on the machine. Runs
 * longer if some kind of fault has not hit anything yet, which happens on slow machines.
 */
export async function chaos(seconds: number, seed: number): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), "dialout-chaos-"));
  const run = new ChaosRun(folder, await freePort(), seed);
  try {
    return await run.execute(seconds);
  } finally {
    await run.cleanUp();
    await rm(folder, { recursive: true, force: true });
  }
}

class ChaosRun {
  private readonly folder: string;
  private readonly port: number;
  private readonly seed: number;
  private readonly random: Random;
  private edge: Program | null = null;
  private readonly workers: { program: Program; notes: string }[] = [];
  private readonly notes: string[] = [];
  private token = "";
  private readonly kills = { edge: 0, worker: 0 };
  private interrupted = 0;

  constructor(folder: string, port: number, seed: number) {
    this.folder = folder;
    this.port = port;
    this.seed = seed;
    this.random = mulberry32(seed);
  }

  async execute(seconds: number): Promise<ChaosReport> {
    bundleEdge(join(this.folder, "bundle"));
    await this.startEdge();
    await this.makeSpace();
    for (let index = 0; index < WORKERS; index += 1) this.startWorker(index);
    const load = new Load(this.url, SETTINGS.name, this.random);
    const submitters = Array.from({ length: SUBMITTERS }, () => load.submit());
    const endAt = Date.now() + seconds * 1_000;
    const isOver = () =>
      Date.now() > endAt && (this.hasHit(load) || Date.now() > endAt + LONGEST_EXTENSION_MS);
    while (!isOver()) await this.fault(load);
    const closed = load.close();
    await Promise.all([closed, ...submitters]);
    return { ...(await this.counts()), ...summary(load, violationsOf(load.history)) };
  }

  async cleanUp(): Promise<void> {
    const workers = this.workers.map(({ program }) => program);
    await Promise.all([...workers, this.edge].map((program) => program?.killAll()));
  }

  private get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  private hasHit(load: Load): boolean {
    return this.kills.edge > 0 && this.interrupted > 0 && load.resumed > 0;
  }

  private async fault({ history }: Load): Promise<void> {
    await sleep(100 + this.random() * 1_400);
    const kind = this.random();
    if (kind < 0.75) {
      this.kills.edge += 1;
      await this.edge?.killAll();
      await sleep(this.random() * 300);
    }
    if (kind > 0.5) {
      const index = Math.floor(this.random() * WORKERS);
      const worker = this.workers[index];
      await worker?.program.killAll();
      if (worker && kind >= 0.75) this.interrupted += await this.inHand(worker.notes, history);
      this.kills.worker += 1;
      this.startWorker(index);
    }
    if (kind < 0.75) await this.startEdge();
  }

  private async startEdge(): Promise<void> {
    const program = join(ROOT, "test/support/edge-program.ts");
    const args = [join(this.folder, "bundle"), join(this.folder, "state"), String(this.port)];
    this.edge = new Program(program, args);
    await this.edge.prints("ready");
  }

  /** Every other worker is the one in Python. */
  private startWorker(index: number): void {
    const notes = join(this.folder, `runs-${this.notes.length}`);
    this.notes.push(notes);
    const args = [this.url, SETTINGS.name, this.token, `worker-${index}`, notes];
    const program =
      index % 2 === 0
        ? new Program(join(import.meta.dirname, "worker-program.ts"), args)
        : new Program(join(import.meta.dirname, "python_worker.py"), args, PYTHON_ENV, PYTHON);
    this.workers[index] = { program, notes };
  }

  /** Counts the accepted jobs that a killed worker had begun and not finished. */
  private async inHand(notes: string, { accepted }: History): Promise<number> {
    const inHand = new Set<string>();
    for (const [verb, id = ""] of await readNotes(notes)) {
      if (verb === "begin") inHand.add(id);
      else inHand.delete(id);
    }
    return accepted.filter(({ id }) => inHand.has(id)).length;
  }

  private async makeSpace(): Promise<void> {
    await this.post("/api/spaces", SETTINGS);
    const path = `/api/spaces/${SETTINGS.name}/tokens`;
    this.token = (await this.post<{ token: string }>(path, { name: "chaos" })).token;
  }

  private async post<T>(path: string, body: object): Promise<T> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${OPERATOR_KEY}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as T;
  }

  private async counts() {
    const runs = (await Promise.all(this.notes.map(readNotes))).flat();
    return {
      seed: this.seed,
      edgeKills: this.kills.edge,
      workerKills: this.kills.worker,
      runs: runs.filter(([verb]) => verb === "begin").length,
      interrupted: this.interrupted,
    };
  }
}

/** Reads a worker's notes, line by line; empty if it was killed before its first run. */
async function readNotes(file: string): Promise<string[][]> {
  const text = await readFile(file, "utf8").catch(() => "");
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => line.split(" "));
}

function summary({ history, resumed }: Load, violations: string[]) {
  const takenBack = [...history.final.values()].filter(({ attempt }) => attempt > 1).length;
  const { accepted, received } = history;
  return { accepted: accepted.length, takenBack, received: received.length, resumed, violations };
}

/** A small generator of good numbers with 32 bits of state, by Tommy Ettinger (public domain). */
function mulberry32(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
