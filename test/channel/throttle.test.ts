import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FLOW_WINDOW_BYTES, SLOW_BYTES } from "../../src/channel/flow.ts";
import { Throttle, type Throttled, throttledAs, toldOf } from "../../src/channel/throttle.ts";

interface Frame {
  type: string;
  status?: string;
  offset: number;
  text: string;
  skipped?: number;
}
interface Subscriber {
  at: { throttled: Throttled | null };
}

/** A job that tells, one subscriber, and a clock that rings bells exactly when they are due. */
class Stage {
  readonly got: (Frame & { at: number })[] = [];
  readonly one: Subscriber;
  isCut = false;
  now = 1_000;
  offset = 0;
  private bells: { at: number; ring: (now: number) => void }[] = [];
  private readonly throttle: Throttle<Subscriber>;

  constructor(maxRate: number | null, acks: boolean) {
    this.one = { at: { throttled: throttledAs(maxRate, acks) } };
    this.throttle = new Throttle({
      send: (_, text) => {
        if (this.isCut) throw new Error("sent after it was cut off");
        this.got.push({ ...JSON.parse(text), at: this.now });
      },
      remember: () => undefined,
      cut: () => {
        this.isCut = true;
      },
      ringIn: (ms, ring) => this.bells.push({ at: this.now + ms, ring }),
    });
  }

  tell(type: "progress" | "output", bytes: number, status = "processing"): void {
    this.offset += 1;
    const frame = { type, status, offset: this.offset, text: "x".repeat(bytes) };
    this.throttle.tell(this.one, toldOf([frame], [JSON.stringify(frame)]), this.now);
  }

  acknowledge(offset: number): void {
    this.throttle.acknowledged(this.one, offset, this.now);
  }

  wait(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const bell = this.bells.sort((a, b) => a.at - b.at)[0];
      if (!bell || bell.at > until) break;
      this.bells.shift();
      this.now = bell.at;
      bell.ring(this.now);
    }
    this.now = until;
  }

  get lastGot(): number {
    return this.got.at(-1)?.offset ?? 0;
  }
}

type Step =
  | { do: "tell"; kind: "progress" | "output"; bytes: number }
  | { do: "wait"; ms: number }
  /** Of what has arrived, this part. */
  | { do: "ack"; part: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("tell" as const),
    kind: fc.constantFrom("progress" as const, "output" as const),
    bytes: fc.integer({ min: 1, max: 60_000 }),
  }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(120) }),
  fc.record({ do: fc.constant("ack" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
);
const histories = fc.array(step, { maxLength: 120 });
const rates = fc.option(fc.integer({ min: 1, max: 20 }));

function play(stage: Stage, steps: readonly Step[]): void {
  for (const one of steps) {
    if (one.do === "tell") stage.tell(one.kind, one.bytes);
    else if (one.do === "wait") stage.wait(one.ms);
    else stage.acknowledge(Math.floor(stage.lastGot * one.part));
  }
}

function expectGapless(frames: readonly Frame[]): void {
  let last = 0;
  for (const { offset, skipped = 0 } of frames) {
    expect(offset).toBe(last + 1 + skipped);
    last = offset;
  }
}

describe("a subscriber that asks for no rate", () => {
  it("and keeps up gets every event, each at once", () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const stage = new Stage(null, true);
        for (const one of steps) {
          if (one.do !== "tell") continue;
          stage.tell(one.kind, one.bytes);
          expect(stage.lastGot).toBe(stage.offset);
          stage.acknowledge(stage.offset);
        }
        expect(stage.got.every(({ skipped }) => skipped === undefined)).toBe(true);
      }),
    );
  });

  it("is thinned out only once more than 64 KiB of what it was sent are not acknowledged", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 60 }), (sizes) => {
        const stage = new Stage(null, true);
        for (const bytes of sizes) {
          const { sent = 0 } = stage.one.at.throttled?.flow ?? {};
          const before = stage.got.length;
          stage.tell("progress", bytes);
          expect(stage.got.length).toBe(sent > SLOW_BYTES ? before : before + 1);
        }
      }),
    );
  });

  it("gets what was held back as soon as it has caught up", () => {
    const stage = new Stage(null, true);
    stage.tell("output", SLOW_BYTES);
    for (let more = 0; more < 5; more += 1) stage.tell("progress", 10);
    expect(stage.lastGot).toBe(2);
    stage.acknowledge(1);
    expect(stage.got.at(-1)).toMatchObject({ offset: 6, skipped: 3 });
    stage.tell("progress", 10);
    expect(stage.lastGot).toBe(7);
  });
});

describe("any subscriber", () => {
  it("gets frames in order that name what they stand for, every piece, and the end at once", () => {
    fc.assert(
      fc.property(histories, rates, fc.boolean(), (steps, rate, acks) => {
        const stage = new Stage(rate, acks);
        if (stage.one.at.throttled === null) return;
        play(stage, steps);
        stage.tell("progress", 10, "completed");
        expectGapless(stage.got);
        if (stage.isCut) return;
        expect(stage.got.at(-1)).toMatchObject({ offset: stage.offset, status: "completed" });
        const pieces = steps.filter((one) => one.do === "tell" && one.kind === "output");
        expect(stage.got.filter(({ type }) => type === "output")).toHaveLength(pieces.length);
      }),
    );
  });

  it("gets the newest state in the end, within the time it asked for", () => {
    fc.assert(
      fc.property(histories, rates, fc.boolean(), (steps, rate, acks) => {
        const stage = new Stage(rate, acks);
        if (stage.one.at.throttled === null) return;
        play(stage, steps);
        stage.wait(Math.ceil(1_000 / (rate ?? 20)) + 50);
        if (!stage.isCut) expect(stage.lastGot).toBe(stage.offset);
      }),
    );
  });

  it("that asked for a rate gets no more states than that", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 20 }), (steps, rate) => {
        const stage = new Stage(rate, false);
        play(stage, steps);
        const states = stage.got.filter(({ type }) => type === "progress");
        for (const [index, { at }] of states.entries()) {
          const before = states[index - 1];
          if (before) expect(at - before.at).toBeGreaterThanOrEqual(1_000 / rate - 1e-6);
        }
      }),
    );
  });

  it("is never sent more once it was cut off, and is cut off only beyond 1 MiB", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 30 }), (sizes) => {
        const stage = new Stage(null, true);
        let sent = 0;
        for (const bytes of sizes) {
          const mayMore = sent <= FLOW_WINDOW_BYTES;
          stage.tell("output", bytes);
          expect(stage.isCut).toBe(!mayMore);
          sent = stage.one.at.throttled?.flow?.sent ?? 0;
        }
        expectGapless(stage.got);
      }),
    );
  });
});

describe("what is kept of a subscriber", () => {
  it("says up to where all was sent while something is held back", () => {
    fc.assert(
      fc.property(histories, rates, (steps, rate) => {
        const stage = new Stage(rate, true);
        for (const one of steps) {
          play(stage, [one]);
          if (stage.isCut) return;
          const { sentTo } = stage.one.at.throttled ?? {};
          expect(sentTo ?? stage.offset).toBe(stage.lastGot);
        }
      }),
    );
  });
});
