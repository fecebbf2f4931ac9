import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
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
    this.one = { attachment: { throttled: throttledAs(maxRate, acks) } };
    this.throttle = new Throttle({
      send: (_, text) => {
        if (this.isCut) throw new Error("sent after it was cut off");
        this.got.push({ ...JSON.parse(text), at: this.now });
      },
      remember: () => undefined,
      cut: () => {
        this.isCut = true;
      },
      startTimer: (ms, ring) => {
        const bell = { at: this.now + ms, ring };
        this.bells.push(bell);
        return () => {
          this.bells = this.bells.filter((other) => other !== bell);
        };
      },
    });
  }

  tell(type: "progress" | "output", bytes: number, status = "processing"): void {
    this.offset += 1;
    const frame = { type, status, offset: this.offset, text: "x".repeat(bytes) };
    this.throttle.send(this.one, eventTextsOf([frame], [JSON.stringify(frame)]), this.now);
  }

  acknowledge(offset: number): void {
    this.throttle.onAck(this.one, offset, this.now);
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
          const { sent = 0 } = stage.one.attachment.throttled?.flow ?? {};
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
        if (stage.one.attachment.throttled === null) return;
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
        if (stage.one.attachment.throttled === null) return;
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
          sent = stage.one.attachment.throttled?.flow?.sent ?? 0;
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
          const { sentTo } = stage.one.attachment.throttled ?? {};
          expect(sentTo ?? stage.offset).toBe(stage.lastGot);
        }
      }),
    );
  });
});

interface Listener extends Subscriber {
  intervalMs: number;
  lastGot: number;
  lastAt: number;
  /** How often what is known of it was written. */
  remembered: number;
}
interface Timer {
  at: number;
  ring: (now: number) => void;
  isCleared: boolean;
}

/** A platform refuses more than some; the fewer, the sooner a test says so. */
const MAX_TIMERS = 100;

/** A job with many subscribers, and timers as a platform has them: whole milliseconds, counted. */
class Hall {
  readonly listeners: Listener[] = [];
  readonly cleared: Timer[] = [];
  now = 1_000;
  offset = 0;
  mostTimers = 0;
  rings = 0;
  failing: Listener | null = null;
  private timers: Timer[] = [];
  readonly throttle = new Throttle<Listener>({
    send: (one, text) => {
      if (one === this.failing) throw new Error("can't be sent to");
      one.lastGot = JSON.parse(text).offset;
      one.lastAt = this.now;
    },
    remember: (one) => {
      one.remembered += 1;
    },
    cut: () => undefined,
    startTimer: (ms, ring) => this.setTimer(ms, ring),
  });

  enter(rate: number, acks = false): Listener {
    const throttled = throttledAs(rate, acks);
    const intervalMs = 1_000 / rate;
    const one = {
      attachment: { throttled },
      intervalMs,
      lastGot: this.offset,
      lastAt: 0,
      remembered: 0,
    };
    this.listeners.push(one);
    return one;
  }

  leave(one: Listener): void {
    this.listeners.splice(this.listeners.indexOf(one), 1);
    this.throttle.remove(one);
  }

  report(to: readonly Listener[] = this.listeners): void {
    this.offset += 1;
    const frame = { type: "progress", status: "processing", offset: this.offset };
    const told = eventTextsOf([frame], [JSON.stringify(frame)]);
    for (const one of to) this.throttle.send(one, told, this.now);
  }

  wait(ms: number): void {
    for (let passed = 0; passed < ms; passed += 1) {
      this.now += 1;
      for (const timer of this.timers.filter(({ at }) => at <= this.now)) {
        if (timer.isCleared) continue;
        this.timers = this.timers.filter((other) => other !== timer);
        this.rings += 1;
        timer.ring(this.now);
      }
      this.expectNobodyWaitsTooLong();
    }
  }

  setClockBack(ms: number): void {
    this.now -= ms;
    for (const timer of this.timers) timer.at -= ms;
  }

  get liveTimers(): number {
    return this.timers.length;
  }

  private setTimer(ms: number, ring: (now: number) => void): () => void {
    const timer = { at: this.now + Math.max(1, Math.trunc(ms)), ring, isCleared: false };
    if (this.timers.length >= MAX_TIMERS) throw new Error("max active timeouts");
    this.timers.push(timer);
    this.mostTimers = Math.max(this.mostTimers, this.timers.length);
    return () => {
      timer.isCleared = true;
      this.cleared.push(timer);
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  private expectNobodyWaitsTooLong(): void {
    for (const { lastGot, lastAt, intervalMs } of this.listeners) {
      if (lastGot < this.offset) expect(this.now - lastAt).toBeLessThan(intervalMs);
    }
  }
}

const HOSTILE_RATES = [1, 3, 7, 13, 19, 1, 2, 4, 5];

describe("the bell of many subscribers", () => {
  it("is one timer at most, and none once nothing is held back, whatever they asked for", () => {
    const act = fc.oneof(
      { weight: 6, arbitrary: fc.constant({ do: "report" as const }) },
      { weight: 6, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(60) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant("enter" as const),
          rate: fc.integer({ min: 1, max: 20 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant("stray" as const), which: fc.nat() }),
      },
    );
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 }),
        fc.array(act, { maxLength: 80 }),
        (rates, acts) => {
          const hall = new Hall();
          for (const rate of rates) hall.enter(rate);
          for (const one of acts) {
            if (one.do === "report") hall.report();
            else if (one.do === "wait") hall.wait(one.ms);
            else if (one.do === "enter") hall.enter(one.rate);
            else if (one.do === "leave") {
              const leaving = hall.listeners[one.which % hall.listeners.length];
              if (leaving) hall.leave(leaving);
            } else hall.cleared[one.which % hall.cleared.length]?.ring(hall.now);
          }
          hall.wait(1_001);
          expect(hall.mostTimers).toBeLessThanOrEqual(1);
          expect(hall.liveTimers).toBe(0);
          for (const { lastGot } of hall.listeners) expect(lastGot).toBe(hall.offset);
        },
      ),
    );
  });

  it("rings no more often than something is due, under 200 reports a second", () => {
    const hall = new Hall();
    for (const rate of HOSTILE_RATES) hall.enter(rate);
    for (let report = 0; report < 1_000; report += 1) {
      hall.report();
      hall.wait(5);
    }
    expect(hall.mostTimers).toBe(1);
    const states = HOSTILE_RATES.reduce((sum, rate) => sum + rate * 5, 0);
    expect(hall.rings).toBeLessThanOrEqual(states);
    hall.wait(1_001);
    expect(hall.liveTimers).toBe(0);
  });

  it("leaves alone those that are not due yet", () => {
    const hall = new Hall();
    const quick = hall.enter(20, true);
    const slow = hall.enter(1, true);
    hall.report();
    hall.report();
    const { remembered } = slow;
    hall.wait(60);
    expect(quick.lastGot).toBe(2);
    expect(slow).toMatchObject({ lastGot: 1, remembered });
    hall.wait(1_000);
    expect(slow.lastGot).toBe(2);
  });

  it("serves the others where one of them can't be sent to, and does not try it again and again", () => {
    const hall = new Hall();
    const [failing, other] = [hall.enter(10), hall.enter(10)];
    hall.report();
    hall.report();
    hall.failing = failing;
    hall.listeners.shift();
    const said = vi.spyOn(console, "error").mockReturnValue();
    hall.wait(200);
    expect(said).toHaveBeenCalledOnce();
    said.mockRestore();
    expect(other.lastGot).toBe(2);
    expect(hall.liveTimers).toBe(0);
  });

  it("is not rung any more once the last of them has left, or all is stopped", () => {
    const hall = new Hall();
    const [first, second] = [hall.enter(1), hall.enter(2)];
    hall.report();
    hall.report();
    hall.leave(first);
    expect(hall.liveTimers).toBe(1);
    hall.leave(second);
    expect(hall.liveTimers).toBe(0);
    hall.enter(1);
    hall.report();
    hall.report();
    hall.throttle.stop();
    expect(hall.liveTimers).toBe(0);
  });

  it("is not set for who has left and is told all the same", () => {
    const hall = new Hall();
    const gone = hall.enter(5);
    hall.report();
    hall.leave(gone);
    hall.report([gone]);
    expect(hall.liveTimers).toBe(0);
  });

  it("lets nobody wait for a clock that was set back", () => {
    const hall = new Hall();
    hall.now = 1_000_000;
    const listeners = [hall.enter(20), hall.enter(1)];
    hall.report();
    hall.report();
    hall.setClockBack(900_000);
    for (const one of listeners) one.lastAt = hall.now + 50;
    hall.wait(1_060);
    for (const { lastGot } of listeners) expect(lastGot).toBe(2);
    expect(hall.liveTimers).toBe(0);
  });
});
