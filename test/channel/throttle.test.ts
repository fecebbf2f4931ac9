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

interface Listener extends Subscriber {
  intervalMs: number;
  lastGot: number;
  lastAt: number;
  /** How often its state was stored. */
  remembered: number;
}
interface Timer {
  at: number;
  ring: (now: number) => void;
  isCleared: boolean;
}

/** Platforms limit the number of timers; the lower this limit, the sooner a test finds too many. */
const MAX_TIMERS = 100;

/** A job with many subscribers, and timers as a platform has them, in whole milliseconds; they are counted. */
class Audience {
  readonly listeners: Listener[] = [];
  readonly cleared: Timer[] = [];
  now = 1_000;
  offset = 0;
  mostTimers = 0;
  timersFired = 0;
  failing: Listener | null = null;
  private timers: Timer[] = [];
  readonly throttle = new Throttle<Listener>({
    send: (listener, text) => {
      if (listener === this.failing) throw new Error("can't be sent to");
      listener.lastGot = JSON.parse(text).offset;
      listener.lastAt = this.now;
    },
    remember: (listener) => {
      listener.remembered += 1;
    },
    cut: () => undefined,
    startTimer: (ms, ring) => this.setTimer(ms, ring),
  });

  enter(rate: number, acks = false): Listener {
    const throttled = throttledAs(rate, acks);
    const intervalMs = 1_000 / rate;
    const listener = {
      attachment: { throttled },
      intervalMs,
      lastGot: this.offset,
      lastAt: 0,
      remembered: 0,
    };
    this.listeners.push(listener);
    return listener;
  }

  leave(listener: Listener): void {
    this.listeners.splice(this.listeners.indexOf(listener), 1);
    this.throttle.remove(listener);
  }

  report(to: readonly Listener[] = this.listeners): void {
    this.offset += 1;
    const frame = { type: "progress", status: "processing", offset: this.offset };
    const events = eventTextsOf([frame], [JSON.stringify(frame)]);
    for (const listener of to) this.throttle.send(listener, events, this.now);
  }

  wait(ms: number): void {
    for (let passed = 0; passed < ms; passed += 1) {
      this.now += 1;
      for (const timer of this.timers.filter(({ at }) => at <= this.now)) {
        if (timer.isCleared) continue;
        this.timers = this.timers.filter((other) => other !== timer);
        this.timersFired += 1;
        timer.ring(this.now);
      }
      this.expectNoListenerWaitsTooLong();
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

  private expectNoListenerWaitsTooLong(): void {
    for (const { lastGot, lastAt, intervalMs } of this.listeners) {
      if (lastGot < this.offset) expect(this.now - lastAt).toBeLessThan(intervalMs);
    }
  }
}

const HOSTILE_RATES = [1, 3, 7, 13, 19, 1, 2, 4, 5];

describe("the timer of many subscribers", () => {
  it("is the only one, and there is none once nothing is delayed, whatever rates they requested", () => {
    const anyAct = fc.oneof(
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
        fc.array(anyAct, { maxLength: 80 }),
        (rates, acts) => {
          const audience = new Audience();
          for (const rate of rates) audience.enter(rate);
          for (const act of acts) {
            if (act.do === "report") audience.report();
            else if (act.do === "wait") audience.wait(act.ms);
            else if (act.do === "enter") audience.enter(act.rate);
            else if (act.do === "leave") {
              const leaving = audience.listeners[act.which % audience.listeners.length];
              if (leaving) audience.leave(leaving);
            } else audience.cleared[act.which % audience.cleared.length]?.ring(audience.now);
          }
          audience.wait(1_001);
          expect(audience.mostTimers).toBeLessThanOrEqual(1);
          expect(audience.liveTimers).toBe(0);
          for (const { lastGot } of audience.listeners) expect(lastGot).toBe(audience.offset);
        },
      ),
    );
  });

  it("fires no more often than something is due, even with 200 reports a second", () => {
    const audience = new Audience();
    for (const rate of HOSTILE_RATES) audience.enter(rate);
    for (let report = 0; report < 1_000; report += 1) {
      audience.report();
      audience.wait(5);
    }
    expect(audience.mostTimers).toBe(1);
    const states = HOSTILE_RATES.reduce((sum, rate) => sum + rate * 5, 0);
    expect(audience.timersFired).toBeLessThanOrEqual(states);
    audience.wait(1_001);
    expect(audience.liveTimers).toBe(0);
  });

  it("doesn't affect subscribers that aren't due yet", () => {
    const audience = new Audience();
    const quick = audience.enter(20, true);
    const slow = audience.enter(1, true);
    audience.report();
    audience.report();
    const { remembered } = slow;
    audience.wait(60);
    expect(quick.lastGot).toBe(2);
    expect(slow).toMatchObject({ lastGot: 1, remembered });
    audience.wait(1_000);
    expect(slow.lastGot).toBe(2);
  });

  it("serves the others if sending to one fails, and doesn't try that one again", () => {
    const audience = new Audience();
    const [failing, other] = [audience.enter(10), audience.enter(10)];
    audience.report();
    audience.report();
    audience.failing = failing;
    audience.listeners.shift();
    const logged = vi.spyOn(console, "error").mockReturnValue();
    audience.wait(200);
    expect(logged).toHaveBeenCalledOnce();
    logged.mockRestore();
    expect(other.lastGot).toBe(2);
    expect(audience.liveTimers).toBe(0);
  });

  it("is canceled once the last of them has left, or the throttle is stopped", () => {
    const audience = new Audience();
    const [first, second] = [audience.enter(1), audience.enter(2)];
    audience.report();
    audience.report();
    audience.leave(first);
    expect(audience.liveTimers).toBe(1);
    audience.leave(second);
    expect(audience.liveTimers).toBe(0);
    audience.enter(1);
    audience.report();
    audience.report();
    audience.throttle.stop();
    expect(audience.liveTimers).toBe(0);
  });

  it("is started again for those who come after it was canceled", () => {
    const audience = new Audience();
    const first = audience.enter(2);
    audience.report();
    audience.report();
    audience.wait(100);
    audience.leave(first);
    const second = audience.enter(1);
    audience.report();
    audience.report();
    audience.wait(1_000);
    expect(second.lastGot).toBe(audience.offset);
  });

  it("is not started for a subscriber that has left and is sent events all the same", () => {
    const audience = new Audience();
    const gone = audience.enter(5);
    audience.report();
    audience.leave(gone);
    audience.report([gone]);
    expect(audience.liveTimers).toBe(0);
  });

  it("serves everybody soon even if the clock was set back", () => {
    const audience = new Audience();
    audience.now = 1_000_000;
    const listeners = [audience.enter(20), audience.enter(1)];
    audience.report();
    audience.report();
    audience.setClockBack(900_000);
    for (const listener of listeners) listener.lastAt = audience.now + 50;
    audience.wait(1_060);
    for (const { lastGot } of listeners) expect(lastGot).toBe(2);
    expect(audience.liveTimers).toBe(0);
  });
});
