import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parsePosition, recover } from "../../src/channel/position.ts";
import {
  cursorAt,
  type JobCursor,
  type JobEvent,
  jobFrame,
  readJobFrame,
  resumeFrom,
} from "../../src/client/job-channel.ts";
import type { Frame } from "../support/fake-subscriber-edge.ts";
import { completed, connection, gap, output, progress } from "./jobs.ts";

/** Models a job's log at the edge and a socket whose frames arrive when the test delivers them. */
class Model {
  private log: Frame[] = [];
  private trimmedTo = 0;
  private inFlight: Frame[] = [];
  private isOpen = false;
  private isOver = false;
  cursor: JobCursor = cursorAt(null);
  told: JobEvent[] = [];

  get last(): number {
    return this.log.length;
  }

  outputs(): number[] {
    return this.log.flatMap((frame, at) => (frame.type === "output" ? [at + 1] : []));
  }

  publish(kind: "output" | "progress" | "end"): void {
    if (this.isOver) return;
    const offset = this.last + 1;
    const frame = { output: output(offset, `#${offset}`), progress: progress(offset) };
    this.isOver = kind === "end";
    const published = kind === "end" ? completed(offset, "done") : frame[kind];
    this.log.push(published);
    if (this.isOpen) this.inFlight.push(published);
  }

  trim(share: number): void {
    this.trimmedTo = Math.max(this.trimmedTo, Math.floor(this.last * share));
  }

  drop(): void {
    this.isOpen = false;
    this.inFlight = [];
  }

  dial(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    const since = parsePosition(resumeFrom(this.cursor));
    const { last } = this;
    const recovery = recover(since, { epoch: "e", last, first: this.trimmedTo + 1 });
    const after = recovery.recovered ? recovery.after : last;
    this.inFlight = [connection(after, recovery.recovered), ...this.missed(recovery)];
  }

  /** Delivers frames, some of them possibly twice. */
  deliver(count: number, twice: boolean): void {
    for (const frame of this.inFlight.splice(0, count)) {
      this.read(frame);
      if (twice && frame.type !== "connection") this.read(frame);
    }
  }

  finish(): void {
    this.publish("end");
    this.dial();
    this.deliver(Number.POSITIVE_INFINITY, false);
    if (this.cursor.snapshot === null && this.cursor.offset >= this.last) return;
    this.drop();
    this.dial();
    this.deliver(Number.POSITIVE_INFINITY, false);
  }

  private missed(recovery: ReturnType<typeof recover>): Frame[] {
    if (recovery.recovered) return this.log.slice(recovery.after);
    const state = this.log.at(-1)?.type === "progress" ? this.log.at(-1) : undefined;
    return [
      ...(this.trimmedTo > 0 ? [gap(this.trimmedTo)] : []),
      ...this.log.slice(this.trimmedTo).filter(({ type }) => type === "output"),
      { ...(state ?? progress(this.last)), offset: this.last },
    ];
  }

  private read(frame: Frame): void {
    const { cursor, events } = readJobFrame(this.cursor, jobFrame.parse(frame));
    this.cursor = cursor;
    this.told.push(...events);
  }
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom("output", "progress").map((kind) => ({ do: "publish", kind })),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("deliver"), count: fc.nat(8), twice: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "drop" }) },
  { weight: 2, arbitrary: fc.constant({ do: "dial" }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("trim"),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
) as fc.Arbitrary<Step>;
type Step = {
  do: "publish" | "deliver" | "drop" | "dial" | "trim";
  kind: "output" | "progress";
  count: number;
  twice: boolean;
  share: number;
};

function run(steps: Step[]): Model {
  const model = new Model();
  for (const step of steps) {
    if (step.do === "publish") model.publish(step.kind);
    else if (step.do === "deliver") model.deliver(step.count, step.twice);
    else if (step.do === "trim") model.trim(step.share);
    else model[step.do]();
  }
  model.finish();
  return model;
}

describe("a job's channel, under random drops, reconnects, repeats and trims", () => {
  test("delivers every piece of output once and in order, or reports it as lost (C9, C10, C11)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const { told, last } = run(steps);
        let at = 0;
        for (const event of told) {
          if (event.type === "gap") {
            const [after, until] = [parsePosition(event.after), parsePosition(event.until)];
            expect(after?.offset).toBe(at);
            expect(until?.offset).toBeGreaterThan(at);
            at = until?.offset ?? at;
          } else if (event.type !== "restart") {
            expect(event.offset).toBeGreaterThan(at - (event.type === "progress" ? 1 : 0));
            at = event.offset;
          }
        }
        expect(at).toBe(last);
        expect(told.at(-1)).toMatchObject({ type: "progress", status: "completed" });
      }),
      { numRuns: 500 },
    );
  });

  test("misses no piece that it does not report as lost (C11)", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const model = run(steps);
        const lost = model.told.flatMap((event) => {
          if (event.type !== "gap") return [];
          const [after, until] = [parsePosition(event.after), parsePosition(event.until)];
          return [{ after: after?.offset ?? 0, until: until?.offset ?? 0 }];
        });
        const told = model.told.flatMap((event) => (event.type === "output" ? [event.offset] : []));
        expect(new Set(told).size).toBe(told.length);
        for (const offset of model.outputs()) {
          const isLost = lost.some(({ after, until }) => offset > after && offset <= until);
          expect(told.includes(offset) || isLost).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a different epoch starts from the beginning (C7)", () => {
    let cursor = cursorAt("old:7");
    const told: JobEvent[] = [];
    for (const frame of [connection(1, false, "new"), output(1, "a"), progress(1)]) {
      const read = readJobFrame(cursor, jobFrame.parse(frame));
      cursor = read.cursor;
      told.push(...read.events);
    }
    expect(told).toMatchObject([
      { type: "gap", after: "old:7", until: "new:0" },
      { type: "output", position: "new:1" },
      { type: "progress", position: "new:1" },
    ]);
  });
});
