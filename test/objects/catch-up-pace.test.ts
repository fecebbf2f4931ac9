import { describe, expect, it } from "vitest";
import { CatchUpPace } from "../../src/objects/catch-up-pace.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const { catchUpBytes, catchUpBytesPerSecond, catchUpBytesPerTurn } = LIMITS;

function aSecondLater(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1_000));
}

describe("what a socket is sent to catch up", () => {
  it("is sent at once as long as that is little", () => {
    const pace = new CatchUpPace<object>();
    const socket = {};
    for (let n = 0; n < 100; n += 1) expect(pace.enter(socket, 1_000)).toBeNull();
  });

  it("waits as long as its size takes at the rate of the long run, and no other socket with it", async () => {
    const pace = new CatchUpPace<object>();
    const socket = {};
    pace.charge(socket, catchUpBytes);
    const startedAt = Date.now();
    const entered = pace.enter(socket, catchUpBytesPerSecond / 2);
    expect(entered).not.toBeNull();
    expect(pace.enter({}, 1)).toBeNull();
    await entered;
    // A timer may be a little early.
    expect(Date.now() - startedAt).toBeGreaterThan(450);
  });

  it("may be sent again after a while, but never more at once than at first", async () => {
    const pace = new CatchUpPace<object>();
    const socket = {};
    pace.charge(socket, catchUpBytes + 1_000);
    expect(pace.maySend(socket)).toBe(false);
    await aSecondLater();
    expect(pace.maySend(socket)).toBe(true);
    const idle = {};
    pace.charge(idle, 1);
    await aSecondLater();
    pace.charge(idle, catchUpBytes + 1);
    expect(pace.maySend(idle)).toBe(false);
  });

  it("is built for many sockets turn by turn, in the order in which they came", async () => {
    const pace = new CatchUpPace<object>();
    const order: number[] = [];
    let turns = 0;
    const count = () => {
      turns += 1;
      if (order.length < 4) setTimeout(count, 0);
    };
    expect(pace.enter({}, catchUpBytesPerTurn)).toBeNull();
    const others = [1, 2, 3, 4].map(async (n) => {
      await pace.enter({}, catchUpBytesPerTurn);
      order.push(n);
    });
    setTimeout(count, 0);
    await Promise.all(others);
    expect(order).toEqual([1, 2, 3, 4]);
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  it("is no longer waited for when the socket has closed", async () => {
    const pace = new CatchUpPace<object>();
    const socket = {};
    const entered = pace.enter(socket, 100 * catchUpBytes);
    const startedAt = Date.now();
    pace.forget(socket);
    await entered;
    await pace.enter(socket, 100 * catchUpBytes);
    expect(Date.now() - startedAt).toBeLessThan(5_000);
    expect(pace.isGone(socket)).toBe(true);
  });
});
