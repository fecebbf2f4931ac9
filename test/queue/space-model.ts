import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect } from "vitest";
import { chooseWorker } from "../../src/queue/dispatch.ts";
import type { Instant, Job, ProcessingJob } from "../../src/queue/job.ts";
import type { Command } from "../../src/queue/transition.ts";
import { type Change, type ServingWorker, UnitOfWork } from "../../src/space/jobs/unit-of-work.ts";
import { JobStore } from "../../src/storage/job-store.ts";
import { migrate } from "../../src/storage/migrations.ts";
import { nodeSql } from "../storage/node-sql.ts";
import { LIMITS } from "./example.ts";
import { START } from "./steps.ts";

/** Something that happens. `pick` is the index of a job, modulo the number of jobs there are by then. */
export type Act =
  | { type: "submit"; priority: number; user: number; needsGpu: boolean }
  /** The space allows each user so many running jobs from now on. */
  | { type: "bound"; bound: number | null }
  | { type: "come" | "drop" | "drain"; worker: number }
  | { type: "output" | "result" | "retry" | "reject" | "cancel"; pick: number }
  | { type: "pass"; seconds: number };

/** Whose jobs they are; `null`: nobody's in particular. */
export const USERS = [null, "user a", "user b", "user c"];

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant("submit" as const),
      priority: fc.constantFrom(0, 0, 0, 1, -1),
      user: fc.nat(USERS.length - 1),
      needsGpu: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom("come" as const, "come" as const, "drop" as const, "drain" as const),
      worker: fc.nat(1),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom(
        ...(["output", "result", "result", "retry", "reject", "cancel"] as const),
      ),
      pick: fc.nat(20),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("pass" as const), seconds: fc.nat(40) }),
  },
);

const boundary: fc.Arbitrary<Act> = fc.record({
  type: fc.constant("bound" as const),
  bound: fc.constantFrom(null, 1, 1, 2),
});

/** Histories: what arrives together, whether it may be deferred, and whether the memory is lost after a save. */
export const days = daysOf(act);
/** The same, in which the space bounds now and then how many jobs of a user run. */
export const boundDays = daysOf(
  fc.oneof({ weight: 14, arbitrary: act }, { weight: 1, arbitrary: boundary }),
);

/** Histories in which a few users submit more than one worker can do, and some jobs are tried again. */
export const busyDays = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          type: fc.constant("submit" as const),
          priority: fc.constant(0),
          user: fc.constantFrom(1, 1, 1, 2, 2, 3),
          needsGpu: fc.constant(false),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          type: fc.constantFrom("result" as const, "result" as const, "retry" as const),
          pick: fc.constant(0),
        }),
      },
      { weight: 1, arbitrary: fc.constant({ type: "pass" as const, seconds: 1 }) },
    ),
    { minLength: 20, maxLength: 60, size: "max" },
  )
  .map((acts): Day => {
    const come: Act = { type: "come", worker: 0 };
    return [come, ...acts].map((act, index) => {
      return { acts: [act], mayDefer: false, forgets: index % 17 === 16 };
    });
  });

function daysOf(acts: fc.Arbitrary<Act>) {
  return fc.array(
    fc.record({
      acts: fc.array(acts, { minLength: 1, maxLength: 4 }),
      mayDefer: fc.boolean(),
      forgets: fc.boolean(),
    }),
    { maxLength: 20, size: "max" },
  );
}

const SLOTS = [1, 2];
const CAPABILITIES = [[], ["gpu"]];
/** Every limit is set, so that every job ends by time alone. */
const JOB_LIMITS = { ...LIMITS, queueTimeoutS: 60, jobTimeoutS: 20, stallTimeoutS: 10 };

/** The tables of a space as all migrations leave them: to run these for each of thousands of spaces takes long. */
const SCHEMA = (() => {
  const sql = nodeSql();
  migrate(sql);
  const made = sql.all<{ sql: string }>("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL");
  return made.map((row) => row.sql).join(";");
})();

/** A space without sockets: workers that come and go, and the jobs with their store. */
export class SpaceModel {
  work: UnitOfWork;
  now: Instant = START;
  readonly store: JobStore;
  /** ULIDs in the order of submits. */
  submitted: string[] = [];
  /** Whose each job is: a job that has ended no longer says so. */
  readonly parties = new Map<string, string | null>();
  /** How many jobs of a user may run. */
  bound: number | null = null;
  private readonly workers = new Map<number, ServingWorker>();
  private generation = 0;
  /** The submitted jobs that were acknowledged to their submitters. */
  private readonly accepted = new Set<string>();

  /** @param Store another class of store, for planted bugs */
  constructor(Store: typeof JobStore = JobStore) {
    this.store = new Store(nodeSql(SCHEMA));
    this.work = new UnitOfWork(this.store);
  }

  jobs(): Job[] {
    return this.submitted.flatMap((ulid) => this.work.get(ulid) ?? []);
  }

  /** The jobs that are in the store. */
  stored(): Job[] {
    return this.jobs().filter(({ ulid }) => !this.work.isDeferred(ulid));
  }

  /** The jobs that wait, in the order in which they should be dispatched. */
  line(): Job[] {
    const queued = this.jobs().filter(({ status }) => status === "queued");
    return queued.toSorted((a, b) => b.priority - a.priority || a.round - b.round);
  }

  dispatch(workers: ServingWorker[]): ProcessingJob[] {
    return this.work.dispatch(workers, this.now, this.bound).dispatched;
  }

  /** The jobs of this line that should be dispatched now, if workers are as they are. */
  due(line: readonly Job[]): Job[] {
    const workers = this.serving();
    const running = new Map<string | null, number>();
    for (const { party } of this.work.runningJobs()) {
      running.set(party, (running.get(party) ?? 0) + 1);
    }
    return line.filter((job) => {
      if (job.status !== "queued" || job.availableAt > this.now) return false;
      const count = running.get(job.party) ?? 0;
      if (this.bound !== null && job.party !== null && count >= this.bound) return false;
      const worker = chooseWorker(workers, job.requires);
      if (worker === null) return false;
      worker.busy += 1;
      running.set(job.party, count + 1);
      return true;
    });
  }

  /** The workers, with the number of attempts that each has now. */
  serving(): ServingWorker[] {
    const running = this.work.runningJobs();
    return [...this.workers.values()].map((worker) => ({
      ...worker,
      busy: running.filter(({ generation }) => generation === worker.generation).length,
    }));
  }

  /** @param mayDefer new jobs that run may stay in memory */
  save(mayDefer: boolean): Change[] {
    this.work.defer(mayDefer ? Number.POSITIVE_INFINITY : 0, this.now);
    this.work.save();
    const changes = this.work.takeStored();
    for (const { ulid } of this.stored()) this.accepted.add(ulid);
    return changes;
  }

  /** The memory is lost, and with it the deferred jobs; none of them was acknowledged. */
  forget(): void {
    this.work = new UnitOfWork(this.store);
    this.submitted = this.submitted.filter((ulid) => this.accepted.has(ulid));
  }

  perform(act: Act): void {
    switch (act.type) {
      case "submit":
        this.submit(act);
        return;
      case "bound":
        this.bound = act.bound;
        return;
      case "come":
        this.come(act.worker);
        return;
      case "drop":
        this.drop(act.worker);
        return;
      case "drain": {
        const worker = this.workers.get(act.worker);
        if (worker) worker.draining = true;
        return;
      }
      case "pass":
        this.now += act.seconds * 1_000;
        this.work.tick(this.now);
        return;
      default:
        this.sendFrame(act);
    }
  }

  private submit({ priority, user, needsGpu }: Extract<Act, { type: "submit" }>): void {
    const { ulid } = this.work.submit(
      {
        priority,
        input: {},
        files: [],
        user: null,
        party: USERS[user] ?? null,
        limits: JOB_LIMITS,
        requires: needsGpu ? ["gpu"] : [],
        cancelOnDisconnect: false,
        idempotency: null,
        cacheKey: null,
        webhook: null,
        submitter: null,
      },
      this.now,
    );
    this.submitted.push(ulid);
    this.parties.set(ulid, USERS[user] ?? null);
  }

  /** Connects a worker, which resumes no attempt. */
  private come(worker: number): void {
    const id = `worker-${worker}`;
    for (const job of this.work.runningJobs()) {
      if (job.worker.id === id)
        this.apply(job, { type: "lose", reason: "The worker came back without it." });
    }
    this.generation += 1;
    const { generation } = this;
    const slots = SLOTS[worker] ?? 1;
    const capabilities = new Set(CAPABILITIES[worker]);
    const idle = { busy: 0, load: 0, capabilities, draining: false };
    this.workers.set(worker, { id, name: null, slots, ...idle, generation });
  }

  private drop(worker: number): void {
    const generation = this.workers.get(worker)?.generation;
    this.workers.delete(worker);
    for (const job of this.work.runningJobs()) {
      if (job.generation === generation) this.apply(job, { type: "detach" });
    }
  }

  private sendFrame(act: Extract<Act, { pick: number }>): void {
    const candidates = act.type === "cancel" ? this.jobs() : this.work.runningJobs();
    const job = candidates[act.pick % candidates.length];
    if (!job) return;
    if (act.type === "cancel") this.apply(job, { type: "cancel", reason: "Not needed." });
    else if (job.status === "processing") this.apply(job, frameOf(act.type, job));
  }

  private apply(job: Job, command: Command): void {
    this.work.apply(job.ulid, command, this.now);
  }
}

function frameOf(type: "output" | "result" | "retry" | "reject", job: ProcessingJob): Command {
  const { attempts: attempt, generation } = job;
  const fence = { attempt, workerId: job.worker.id, generation };
  switch (type) {
    case "output":
      return { type, fence, delta: "a" };
    case "result":
      return { type, fence, output: "done", metrics: null };
    case "reject":
      return { type, fence, reason: "no room" };
    case "retry":
      return { type: "fail", fence, code: "worker_error", message: "again", retryable: true };
  }
}

/** Called with the space after each dispatch, after each batch is stored, and at the end. */
export interface Checks {
  dispatched?: (space: SpaceModel, jobs: ProcessingJob[], line: Job[], due: Job[]) => void;
  stored?: (space: SpaceModel, changes: Change[]) => void;
  over?: (space: SpaceModel) => void;
}

export type Day = { acts: Act[]; mayDefer: boolean; forgets: boolean }[];

export function liveThrough(space: SpaceModel, day: Day, checks: Checks): void {
  for (const { acts, mayDefer, forgets } of day) {
    for (const act of acts) space.perform(act);
    const [line, workers] = [space.line(), space.serving()];
    const due = space.due(line);
    const jobs = space.dispatch(workers);
    checks.dispatched?.(space, jobs, line, due);
    const changes = space.save(mayDefer);
    checks.stored?.(space, changes);
    if (forgets) space.forget();
  }
  checks.over?.(space);
}

/** Throws unless the store has every stored job as it is in memory. `expect` alone would take most of a test's time. */
export function expectAllStored(space: SpaceModel): void {
  for (const job of space.stored()) {
    const found = space.store.get(job.ulid);
    if (!isDeepStrictEqual(found, job)) expect(found).toEqual(job);
  }
}
