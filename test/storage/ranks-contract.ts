import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classOf } from "../../src/storage/job-row.ts";
import type { JobStore } from "../../src/storage/job-store.ts";
import { QueueRanks, type Ranked } from "../../src/storage/queue-ranks.ts";
import type { Sql } from "../../src/storage/sql.ts";
import { queuedAs, ulidAt } from "./stored-jobs.ts";
import { type WithSql, withStore } from "./with-sql.ts";

/** How many jobs one stretch of a line has; the tested lines must be several times as long. */
const STRETCH = 512;

const LINES = [
  { requires: [], priority: 0 },
  { requires: [], priority: -3 },
  { requires: ["gpu"], priority: 0 },
];

type Where = "front" | "back" | "anywhere";
type Step =
  | { type: "join"; line: number; count: number }
  /** Puts back this many jobs that left before, or that never joined. */
  | { type: "return"; line: number; count: number }
  | { type: "leave"; line: number; share: number; where: Where }
  | { type: "ask"; line: number }
  /** Memory is lost. */
  | { type: "forget" };

const line = fc.nat(LINES.length - 1);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constant("join"), line, count: fc.nat(900) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("return"), line, count: fc.nat(300) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant("leave"),
        line,
        share: fc.constantFrom(0.01, 0.3, 0.6, 1),
        where: fc.constantFrom<Where>("front", "back", "anywhere"),
      }),
    },
    { weight: 4, arbitrary: fc.record({ type: fc.constant("ask"), line }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("forget") }) },
  ) as fc.Arbitrary<Step>,
  { minLength: 10, maxLength: 30 },
);

/** Lines of jobs, once as `QueueRanks` and once as plain sorted lists, to compare the two. */
class Queue {
  private readonly plain = LINES.map((): Ranked[] => []);
  private readonly gone = LINES.map((): Ranked[] => []);
  private ranks: QueueRanks;
  private made = 0;
  private readonly store: JobStore;
  private readonly sql: Sql;

  constructor(store: JobStore, sql: Sql) {
    this.store = store;
    this.sql = sql;
    this.ranks = new QueueRanks(sql);
  }

  perform(step: Step): void {
    if (step.type === "forget") this.ranks = new QueueRanks(this.sql);
    else if (step.type === "ask") this.compare(step.line);
    else if (step.type === "leave") this.leave(step.line, step.share, step.where);
    else if (step.type === "return") this.enter(step.line, this.takeGone(step.line, step.count));
    else this.enter(step.line, this.fresh(step.line, step.count));
  }

  compare(at: number): void {
    const { requires, priority, list } = this.of(at);
    const line = { requires: classOf(requires), priority };
    const ends = [
      { round: 1, ulid: ulidAt(0) },
      { round: 1_000_000, ulid: "Z" },
    ];
    const jobs = [...sample(list, 40), ...sample(this.gone[at] ?? [], 20), ...ends];
    const expected = jobs.map((job) => list.filter((other) => inOrder(other, job) < 0).length);
    expect(jobs.map((job) => this.ranks.countBefore(line, job))).toEqual(expected);
    const few = sample(list, 4);
    const through = few.map((job) => list.filter(({ round }) => round <= job.round).length);
    expect(few.map(({ round }) => this.ranks.countThrough(line, round))).toEqual(through);
  }

  private of(at: number) {
    const { requires, priority } = LINES[at] ?? { requires: [], priority: 0 };
    return { requires, priority, list: this.plain[at] ?? [] };
  }

  /**
   * New jobs, but some are kept for later, so that jobs also join that are older than those before them. Every third
   * is of an early round, as if others had queued up before.
   */
  private fresh(at: number, count: number): Ranked[] {
    const jobs = Array.from({ length: count }, () => {
      this.made += 1;
      const round = this.made % 3 === 0 ? 1 + (this.made % 40) : this.made;
      return { round, ulid: ulidAt(this.made) };
    });
    this.gone[at]?.push(...jobs.filter((_, index) => index % 7 === 3));
    return jobs.filter((_, index) => index % 7 !== 3);
  }

  private takeGone(at: number, count: number): Ranked[] {
    const gone = this.gone[at] ?? [];
    const taken = sample(gone, count);
    this.gone[at] = gone.filter((job) => !taken.includes(job));
    return taken;
  }

  private enter(at: number, jobs: Ranked[]): void {
    const { requires, priority, list } = this.of(at);
    for (const job of jobs) {
      this.store.add(queuedAs(job.ulid, { requires, priority, round: job.round }));
      this.ranks.add({ requires: classOf(requires), priority }, job);
    }
    this.plain[at] = [...list, ...jobs].sort(inOrder);
  }

  private leave(at: number, share: number, where: Where): void {
    const { requires, priority, list } = this.of(at);
    const count = Math.ceil(list.length * share);
    const leaving =
      where === "anywhere"
        ? sample(list, count)
        : list.slice(where === "front" ? 0 : list.length - count).slice(0, count);
    for (const job of leaving) {
      this.store.remove(job.ulid);
      this.ranks.remove({ requires: classOf(requires), priority }, job);
    }
    const left = new Set(leaving);
    this.plain[at] = list.filter((job) => !left.has(job));
    this.gone[at]?.push(...leaving);
  }
}

/** The order of the jobs of a line. */
function inOrder(a: Ranked, b: Ranked): number {
  return a.round - b.round || (a.ulid < b.ulid ? -1 : Number(a.ulid > b.ulid));
}

/** `count` of the jobs, evenly spread, in reverse order. */
function sample(jobs: readonly Ranked[], count: number): Ranked[] {
  const every = Math.max(1, jobs.length / Math.max(1, count));
  const picked: Ranked[] = [];
  for (let at = 0; at < jobs.length && picked.length < count; at += every) {
    const job = jobs[Math.floor(at)];
    if (job) picked.push(job);
  }
  return picked.reverse();
}

export function ranksContract(withSql: WithSql): void {
  describe("the ranks of a long queue", () => {
    it("are those of a plain sorted list, whatever joins and leaves, and whenever they are read", () =>
      withStore(withSql, (store, sql) => {
        const many = fc.integer({ min: 2 * STRETCH, max: 5 * STRETCH });
        const anyLife = fc.property(many, fc.boolean(), steps, (count, isAsked, life) => {
          sql.run("DELETE FROM jobs");
          const queue = new Queue(store, sql);
          if (isAsked) queue.compare(0);
          queue.perform({ type: "join", line: 0, count });
          for (const step of life) queue.perform(step);
          for (const at of LINES.keys()) queue.compare(at);
        });
        const ask: Step = { type: "ask", line: 0 };
        const examples: [number, boolean, Step[]][] = [
          // The first stretch is gone when older jobs come back.
          [
            3 * STRETCH,
            true,
            [
              { type: "leave", line: 0, share: 0.6, where: "front" },
              { type: "return", line: 0, count: 300 },
              ask,
            ],
          ],
          // The first to join a line that was just read is the oldest.
          [3 * STRETCH, false, [ask, { type: "return", line: 0, count: 1 }, ask]],
          // 1195 that join, of which 1024 stay, fill two stretches; then some come back into the newest one.
          [1_195, false, [ask, { type: "return", line: 0, count: 300 }, ask]],
        ];
        fc.assert(anyLife, { numRuns: 20, examples });
      }));

    it("count no more rows than two stretches have, however many jobs wait and wherever they join", () =>
      withStore(withSql, (store, sql) => {
        const there = { requires: "", priority: 0 };
        const joined: Ranked[] = Array.from({ length: 6 * STRETCH }, (_, n) => {
          // After the first third, others take turns with those who wait.
          return { round: n < 2 * STRETCH ? n + 1 : 1 + (n % 30), ulid: ulidAt(n) };
        });
        let counted: Ranked[] = [];
        const all: Sql["all"] = (query, ...bindings) => {
          if (query.startsWith("SELECT COUNT(*)")) {
            const [from, to] = [bindings.slice(2, 4), bindings.slice(4, 6)].map(
              ([round, ulid]) => ({ round: Number(round), ulid: String(ulid) }),
            ) as [Ranked, Ranked];
            counted = joined.filter((job) => inOrder(job, from) >= 0 && inOrder(job, to) < 0);
          }
          return sql.all(query, ...bindings);
        };
        const grown = new QueueRanks({ ...sql, all });
        expect(grown.countBefore(there, { round: 1, ulid: ulidAt(0) })).toBe(0);
        for (const job of joined) {
          store.add(queuedAs(job.ulid, { round: job.round }));
          grown.add(there, job);
        }
        const inLine = joined.toSorted(inOrder);
        for (const ranks of [grown, new QueueRanks({ ...sql, all })]) {
          for (const [place, job] of inLine.entries()) {
            if (place % 61 !== 0) continue;
            expect(ranks.countBefore(there, job)).toBe(place);
            expect(counted.length).toBeLessThanOrEqual(2 * STRETCH);
          }
        }
      }));
  });
}
