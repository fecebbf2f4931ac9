import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startHeartbeat } from "../../worker-client/heartbeat.ts";
import { NODE } from "../../worker-client/node-platform.ts";

beforeEach(() => {
  // Not `setImmediate`: what a heartbeat does in its own turn has to come after what the test does now.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A heartbeat of 10 s with a lease of 30 s; what it does is noted with the second in which it happens. */
function start() {
  const done: string[] = [];
  const startedAt = performance.now();
  const note = (what: string) =>
    void done.push(`${what} at ${Math.floor((performance.now() - startedAt) / 1_000)}`);
  const heartbeat = startHeartbeat({
    platform: NODE,
    heartbeatS: 10,
    leaseS: 30,
    bytesReceived: () => 0,
    busyUntil: () => 0,
    ping: () => note("ping"),
    onSilence: (silentS) => note(`silent for ${silentS.toFixed(0)}`),
  });
  return { heartbeat, done };
}

async function pass(seconds: number): Promise<void> {
  vi.advanceTimersByTime(seconds * 1_000);
  await turn();
}

describe("the heartbeat of a worker", () => {
  test("pings the edge as often as the edge asked for, while it hears from it (W9)", async () => {
    const { heartbeat, done } = start();
    for (let beat = 1; beat <= 4; beat += 1) {
      await pass(10);
      heartbeat.onReceived();
    }
    expect(done).toEqual(["ping at 10", "ping at 20", "ping at 30", "ping at 40"]);
    heartbeat.stop();
  });

  test("reports that nothing came for a whole lease, and not before", async () => {
    const { heartbeat, done } = start();
    await pass(5);
    heartbeat.onReceived();
    await pass(31);
    expect(done).toEqual(["ping at 10", "ping at 20", "ping at 30"]);
    await pass(4);
    expect(done.slice(3)).toEqual(["silent for 35 at 40"]);
    heartbeat.stop();
  });

  test("doesn't report a silence that ends while it is about to: what came is read first", async () => {
    const { heartbeat, done } = start();
    // As after a blocked event loop: the timer is due, and then the socket is read.
    vi.advanceTimersByTime(30_000);
    heartbeat.onReceived();
    await turn();
    expect(done).toEqual(["ping at 10", "ping at 20"]);
    heartbeat.stop();
  });

  test("does nothing more once it is stopped, not even what it was about to", async () => {
    const { heartbeat, done } = start();
    vi.advanceTimersByTime(30_000);
    heartbeat.stop();
    await pass(120);
    expect(done).toEqual(["ping at 10", "ping at 20"]);
  });
});
