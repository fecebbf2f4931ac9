import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Heartbeat } from "../../src/client/heartbeat.ts";

const BEAT_MS = 10_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function startHeartbeat() {
  const happened = { pings: 0, deaths: 0 };
  const ping = () => {
    happened.pings += 1;
  };
  const onDead = () => {
    happened.deaths += 1;
    heartbeat.stop();
  };
  const heartbeat: Heartbeat = new Heartbeat({ ping, onDead }, BEAT_MS);
  heartbeat.start();
  return { heartbeat, happened };
}

describe("a connection on which nothing comes", () => {
  test("is dead after a ping without an answer", () => {
    const { happened } = startHeartbeat();
    vi.advanceTimersByTime(BEAT_MS);
    expect(happened).toEqual({ pings: 1, deaths: 0 });
    vi.advanceTimersByTime(BEAT_MS);
    expect(happened.deaths).toBe(1);
  });

  test("is not dead while a message that was announced may be arriving, and is in the end (C17a)", () => {
    const { heartbeat, happened } = startHeartbeat();
    heartbeat.onReceive();
    heartbeat.onAnnounce(409_600);
    vi.advanceTimersByTime(99_000);
    expect(happened.deaths).toBe(0);
    vi.advanceTimersByTime(2 * BEAT_MS + 1_000);
    expect(happened.deaths).toBe(1);
  });

  test("is dead as soon as usual once that message has arrived (C17a)", () => {
    const { heartbeat, happened } = startHeartbeat();
    heartbeat.onAnnounce(409_600);
    heartbeat.onReceive();
    vi.advanceTimersByTime(3 * BEAT_MS);
    expect(happened.deaths).toBe(1);
  });
});
