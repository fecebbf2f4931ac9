import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DeliveryAnswer, Relayed } from "../../src/room/calls.ts";
import { GatewayDeliveries } from "../../src/room/gateway-deliveries.ts";
import { settle } from "../support/fake-object.ts";

interface Call {
  gateway: string;
  events: number[];
  presence: string[];
  answer: (subscribers: number) => Promise<void>;
  fail: () => Promise<void>;
}

/** The deliveries of one room, of which every call waits until the test answers it. */
function deliveriesOf() {
  const calls: Call[] = [];
  const emptied: string[] = [];
  const deliveries = new GatewayDeliveries(
    (gateway, { events, presence }) => {
      const { promise, resolve, reject } = Promise.withResolvers<DeliveryAnswer>();
      calls.push({
        gateway,
        events: events.map(({ offset }) => offset),
        presence,
        answer: (subscribers) => {
          resolve({ subscribers });
          return settle();
        },
        fail: () => {
          reject(new Error("overloaded"));
          return settle();
        },
      });
      return promise;
    },
    (gateway) => emptied.push(gateway),
  );
  const call = (index: number): Call => {
    const made = calls[index];
    if (!made) throw new Error(`There is no call ${index}.`);
    return made;
  };
  return { deliveries, calls, call, emptied };
}

function event(offset: number, text = "{}"): Relayed {
  return { offset, text };
}

let waits: number[] = [];
let endWaits: () => void = () => undefined;

beforeEach(() => {
  waits = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  endWaits = resolve;
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => {
    waits.push(Number(ms));
    await promise;
  });
  vi.spyOn(console, "error").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a room's calls to its gateways", () => {
  it("go to each gateway one at a time, with everything that came meanwhile in order (R6)", async () => {
    const { deliveries, calls, call } = deliveriesOf();
    deliveries.send(["a", "b"], [event(1)], []);
    deliveries.send(["a"], [event(2)], ["joined"]);
    deliveries.send(["a"], [event(3), event(4)], ["left"]);
    expect(calls.map(({ gateway, events }) => [gateway, events])).toEqual([
      ["a", [1]],
      ["b", [1]],
    ]);
    await call(0).answer(1);
    expect(calls).toHaveLength(3);
    expect(call(2)).toMatchObject({
      gateway: "a",
      events: [2, 3, 4],
      presence: ["joined", "left"],
    });
    await call(2).answer(1);
    expect(calls).toHaveLength(3);
  });

  it("bring nothing twice: what was sent with one call is not in the next", async () => {
    const { deliveries, call } = deliveriesOf();
    deliveries.send(["a"], [event(1)], ["joined"]);
    await call(0).answer(1);
    deliveries.send(["a"], [event(2)], []);
    expect(call(1)).toMatchObject({ events: [2], presence: [] });
  });

  it("are made again after a failure, without its events, until one succeeds", async () => {
    const { deliveries, calls, call } = deliveriesOf();
    deliveries.send(["a"], [event(1)], []);
    await call(0).fail();
    expect([calls.length, waits]).toEqual([1, [100]]);
    deliveries.send(["a"], [event(2)], []);
    expect(calls).toHaveLength(1);
    endWaits();
    await settle();
    expect(call(1).events).toEqual([2]);
    await call(1).fail();
    expect(call(2).events).toEqual([]);
    await call(2).answer(1);
    expect(calls).toHaveLength(3);
  });

  it("wait twice as long after each failure, half a minute at most, and little again after a success", async () => {
    const { deliveries, call } = deliveriesOf();
    endWaits();
    deliveries.send(["a"], [event(1)], []);
    for (let failed = 0; failed < 11; failed += 1) await call(failed).fail();
    expect(waits).toEqual([
      100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
    ]);
    deliveries.send(["a"], [event(2)], []);
    await call(11).answer(1);
    await call(12).fail();
    expect(waits.at(-1)).toBe(100);
  });

  it("hold at most 8 MiB for a gateway that doesn't answer: the rest is in the log", async () => {
    const { deliveries, call } = deliveriesOf();
    const mebibyte = "x".repeat(1_048_576);
    deliveries.send(["a"], [event(1)], []);
    for (let offset = 2; offset <= 9; offset += 1)
      deliveries.send(["a"], [event(offset, mebibyte)], []);
    deliveries.send(["a"], [event(10)], ["joined"]);
    deliveries.send(["a"], [event(11)], ["left"]);
    await call(0).answer(1);
    expect(call(1)).toMatchObject({ events: [11], presence: ["left"] });
  });

  it("count frames about presence among what they hold", async () => {
    const { deliveries, call } = deliveriesOf();
    deliveries.send(["a"], [event(1)], []);
    deliveries.send(["a"], [], ["x".repeat(8_388_608)]);
    deliveries.send(["a"], [event(2)], ["y"]);
    await call(0).answer(1);
    expect(call(1)).toMatchObject({ events: [], presence: [] });
  });

  it("carry a full 8 MiB, which is not too much", async () => {
    const { deliveries, call } = deliveriesOf();
    deliveries.send(["a"], [event(1)], []);
    deliveries.send(["a"], [event(2, "x".repeat(8_388_608))], []);
    await call(0).answer(1);
    expect(call(1).events).toEqual([2]);
  });

  it("are made even without events: the gateway learns the last offset by it", async () => {
    const { deliveries, call } = deliveriesOf();
    deliveries.send(["a"], [], []);
    expect(call(0)).toMatchObject({ gateway: "a", events: [], presence: [] });
  });
});

describe("a gateway that answers that nobody follows the room any more", () => {
  it("is forgotten", async () => {
    const { deliveries, call, emptied } = deliveriesOf();
    deliveries.noteJoin("a");
    deliveries.send(["a"], [event(1)], []);
    await call(0).answer(0);
    expect(emptied).toEqual(["a"]);
  });

  it("stays if it joined again after that call was made", async () => {
    const { deliveries, call, emptied } = deliveriesOf();
    deliveries.noteJoin("a");
    deliveries.send(["a"], [event(1)], []);
    deliveries.noteJoin("a");
    await call(0).answer(0);
    expect(emptied).toEqual([]);
    deliveries.send(["a"], [event(2)], []);
    await call(1).answer(0);
    expect(emptied).toEqual(["a"]);
  });

  it("stays if it answers that it has subscribers", async () => {
    const { deliveries, call, emptied } = deliveriesOf();
    deliveries.send(["a"], [event(1)], []);
    await call(0).answer(1);
    expect(emptied).toEqual([]);
  });

  it("is called no more for what a failed call left over", async () => {
    const { deliveries, calls, call } = deliveriesOf();
    deliveries.send(["a"], [event(1)], []);
    await call(0).fail();
    deliveries.forget("a");
    endWaits();
    await settle();
    expect(calls).toHaveLength(1);
  });
});

describe("the number of a room's subscribers", () => {
  it("is the sum of the latest answers of its gateways", async () => {
    const { deliveries, call } = deliveriesOf();
    expect(deliveries.subscribers).toBe(0);
    deliveries.send(["a", "b"], [event(1)], []);
    await call(0).answer(70);
    await call(1).answer(50);
    expect(deliveries.subscribers).toBe(120);
    deliveries.send(["b"], [event(2)], []);
    await call(2).answer(1);
    expect(deliveries.subscribers).toBe(71);
    deliveries.forget("a");
    expect(deliveries.subscribers).toBe(1);
  });
});

describe("the number of a gateway's joins", () => {
  it("grows with each join, and is 0 before the first and once the gateway is forgotten", () => {
    const { deliveries } = deliveriesOf();
    expect(deliveries.joinOf("a")).toBe(0);
    deliveries.noteJoin("a");
    const first = deliveries.joinOf("a");
    deliveries.noteJoin("b");
    deliveries.noteJoin("a");
    expect(first).toBeGreaterThan(0);
    expect(deliveries.joinOf("a")).toBeGreaterThan(first);
    deliveries.forget("a");
    expect(deliveries.joinOf("a")).toBe(0);
  });
});
