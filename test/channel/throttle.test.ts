import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FLOW_WINDOW_BYTES, SLOW_BYTES } from "../../src/channel/flow.ts";
import { eventTextsOf, Throttle, type Throttled, throttledAs } from "../../src/channel/throttle.ts";

interface Frame {
  type: string;
  status?: string;
  offset: number;
  text: string;
  skipped?: number;
}
interface Subscriber {
  attachment: { throttled: Throttled | null };
}

/** A job that sends events, one subscriber, and a clock whose timers fire exactly when they are due. */
class Stage {
  readonly got: (Frame & { at: number })[] = [];
  readonly subscriber: Subscriber;
  /** The throttled state as it was last stored with the socket. */
  stored: Throttled | null;
  isCut = false;
  now = 1_000;
  offset = 0;
  private timers: { at: number; ring: (now: number) => void }[] = [];
  private readonly throttle: Throttle<Subscriber>;

  constructor(maxRate: number | null, acks: boolean) {
    this.subscriber = { attachment: { throttled: throttledAs(maxRate, acks) } };
    this.stored = structuredClone(this.subscriber.attachment.throttled);
    this.throttle = new Throttle({
      send: (_, text) => {
        if (this.isCut) throw new Error("sent after it was cut off");
        this.got.push({ ...JSON.parse(text), at: this.now });
      },
      remember: ({ attachment }) => {
        this.stored = structuredClone(attachment.throttled);
      },
      cut: () => {
        if (this.isCut) throw new Error("cut off twice");
        this.isCut = true;
      },
      startTimer: (ms, ring) => {
        const timer = { at: this.now + ms, ring };
        this.timers.push(timer);
        return () => {
          this.timers = this.timers.filter((other) => other !== timer);
        };
      },
    });
  }

  report(type: "progress" | "output", bytes: number, status = "processing"): void {
    this.offset += 1;
    const frame = { type, status, offset: this.offset, text: "x".repeat(bytes) };
    this.throttle.send(this.subscriber, eventTextsOf([frame], [JSON.stringify(frame)]), this.now);
  }

  acknowledge(offset: number): void {
    this.throttle.onAck(this.subscriber, offset, this.now);
  }

  wait(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const timer = this.timers.sort((a, b) => a.at - b.at)[0];
      if (!timer || timer.at > until) break;
      this.timers.shift();
      this.now = timer.at;
      timer.ring(this.now);
    }
    this.now = until;
  }

  get lastGot(): number {
    return this.got.at(-1)?.offset ?? 0;
  }
}

type Step =
  | { do: "report"; kind: "progress" | "output"; bytes: number }
  | { do: "wait"; ms: number }
  /** Acknowledges this part of what has arrived. */
  | { do: "ack"; part: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("report" as const),
    kind: fc.constantFrom("progress" as const, "output" as const),
    bytes: fc.integer({ min: 1, max: 60_000 }),
  }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(120) }),
  fc.record({ do: fc.constant("ack" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
);
const histories = fc.array(step, { maxLength: 120 });
const rates = fc.option(fc.integer({ min: 1, max: 20 }));

function play(stage: Stage, steps: readonly Step[]): void {
  for (const step of steps) {
    if (step.do === "report") stage.report(step.kind, step.bytes);
    else if (step.do === "wait") stage.wait(step.ms);
    else stage.acknowledge(Math.floor(stage.lastGot * step.part));
  }
}

function expectGapless(frames: readonly Frame[]): void {
  let last = 0;
  for (const { offset, skipped = 0 } of frames) {
    expect(offset).toBe(last + 1 + skipped);
    last = offset;
  }
}

describe("a subscriber without a `max_rate`", () => {
  it("that keeps up gets every event at once (S17)", () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const stage = new Stage(null, true);
        for (const step of steps) {
          if (step.do !== "report") continue;
          stage.report(step.kind, step.bytes);
          expect(stage.lastGot).toBe(stage.offset);
          stage.acknowledge(stage.offset);
        }
        expect(stage.got.every(({ skipped }) => skipped === undefined)).toBe(true);
      }),
    );
  });

  it("gets fewer states only while more than 64 KiB are not acknowledged (S18a)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 60 }), (sizes) => {
        const stage = new Stage(null, true);
        for (const bytes of sizes) {
          const { sent = 0 } = stage.subscriber.attachment.throttled?.flow ?? {};
          const before = stage.got.length;
          stage.report("progress", bytes);
          expect(stage.got.length).toBe(sent > SLOW_BYTES ? before : before + 1);
        }
      }),
    );
  });

  it("gets what was delayed as soon as it has caught up (S18a)", () => {
    const stage = new Stage(null, true);
    stage.report("output", SLOW_BYTES);
    for (let more = 0; more < 5; more += 1) stage.report("progress", 10);
    expect(stage.lastGot).toBe(2);
    stage.acknowledge(1);
    expect(stage.got.at(-1)).toMatchObject({ offset: 6, skipped: 3 });
    stage.report("progress", 10);
    expect(stage.lastGot).toBe(7);
  });
});

describe("any subscriber", () => {
  it("gets frames in order that count what was left out, every piece, and the end at once (S17b, S17c)", () => {
    fc.assert(
      fc.property(histories, rates, fc.boolean(), (steps, rate, acks) => {
        const stage = new Stage(rate, acks);
        if (stage.subscriber.attachment.throttled === null) return;
        play(stage, steps);
        stage.report("progress", 10, "completed");
        expectGapless(stage.got);
        if (stage.isCut) return;
        expect(stage.got.at(-1)).toMatchObject({ offset: stage.offset, status: "completed" });
        const pieces = steps.filter((step) => step.do === "report" && step.kind === "output");
        expect(stage.got.filter(({ type }) => type === "output")).toHaveLength(pieces.length);
      }),
    );
  });

  it("gets the newest state within the interval that it requested", () => {
    fc.assert(
      fc.property(histories, rates, fc.boolean(), (steps, rate, acks) => {
        const stage = new Stage(rate, acks);
        if (stage.subscriber.attachment.throttled === null) return;
        play(stage, steps);
        stage.wait(Math.ceil(1_000 / (rate ?? 20)) + 50);
        if (!stage.isCut) expect(stage.lastGot).toBe(stage.offset);
      }),
    );
  });

  it("with a `max_rate` gets no more states than that (S17a)", () => {
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

  it("is sent nothing after it was cut off, and is cut off only beyond 1 MiB (S18b)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 30 }), (sizes) => {
        const stage = new Stage(null, true);
        let sent = 0;
        for (const bytes of sizes) {
          const mayMore = sent <= FLOW_WINDOW_BYTES;
          stage.report("output", bytes);
          expect(stage.isCut).toBe(!mayMore);
          sent = stage.subscriber.attachment.throttled?.flow?.sent ?? 0;
        }
        expectGapless(stage.got);
      }),
    );
  });
});

describe("the stored state of a subscriber", () => {
  it("has the last offset that was sent while something is delayed, and how much of it was acknowledged", () => {
    fc.assert(
      fc.property(histories, rates, fc.boolean(), (steps, rate, acks) => {
        const stage = new Stage(rate, acks);
        if (stage.stored === null) return;
        for (const step of steps) {
          play(stage, [step]);
          if (stage.isCut) return;
          expect(stage.stored.sentTo ?? stage.offset).toBe(stage.lastGot);
          expect(stage.stored).toEqual(stage.subscriber.attachment.throttled);
        }
      }),
    );
  });
});

describe("a subscriber that was sent what it lacked after the memory was lost", () => {
  it("lacks nothing more, and that is stored", () => {
    const remembered: unknown[] = [];
    const throttle = new Throttle<Subscriber>({
      send: () => undefined,
      remember: ({ attachment }) => void remembered.push(structuredClone(attachment.throttled)),
      cut: () => undefined,
      startTimer: () => () => undefined,
    });
    const throttled = { intervalMs: 500, sentTo: 3, flow: null };
    throttle.caughtUp({ attachment: { throttled: { ...throttled } } });
    expect(remembered).toEqual([{ ...throttled, sentTo: null }]);
    throttle.caughtUp({ attachment: { throttled: null } });
    expect(remembered).toHaveLength(1);
  });
});
