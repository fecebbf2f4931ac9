import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { eventTextsOf, Throttle, type Throttled, throttledAs } from "../../src/channel/throttle.ts";

interface Subscriber {
  attachment: { throttled: Throttled | null };
}

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
    expect(other.lastGot).toBe(2);
    // The timer of another one is no reason to try again either.
    audience.report([other]);
    audience.report([other]);
    audience.wait(1_000);
    expect(other.lastGot).toBe(4);
    expect(logged).toHaveBeenCalledOnce();
    logged.mockRestore();
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
