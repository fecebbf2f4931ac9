import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DialoutClient, type Sending } from "../../src/client/index.ts";
import { jobResource } from "./jobs.ts";
import { JOB_ID } from "./start.ts";

const URL = "http://edge.example";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("the waits of a call that finds no edge", () => {
  /** Calls until it is given up; returns how long it waited before each repeat, milliseconds. */
  async function waitsOf(answer: () => Response, timeout?: number): Promise<number[]> {
    const waits: number[] = [];
    const onSending = (sending: Sending) => {
      if (sending.state === "waiting") waits.push(sending.retryAt - Date.now());
    };
    const client = new DialoutClient({ url: URL, fetch: async () => answer() });
    const call = client
      .job(JOB_ID)
      .get({ onSending, timeout })
      .catch(() => undefined);
    await vi.advanceTimersByTimeAsync(600_000);
    await call;
    return waits;
  }

  const away = (): Response => {
    throw new Error("no route");
  };

  test.each([
    ["half of that at least", 0, [250, 500, 1_000, 2_000]],
    ["half as much again at most", 0.999_999, [750, 1_500, 3_000, 6_000]],
  ])("double each time, %s, and end with the fifth try", async (_, random, expected) => {
    vi.spyOn(Math, "random").mockReturnValue(random);
    const waits = await waitsOf(away);
    expect(waits.map((ms) => Math.round(ms))).toEqual(expected);
  });

  test("grow to eight seconds if the caller allows the time", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    expect(await waitsOf(away, 35_000)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  });

  test("are as long as the edge asks for, up to half a minute, if that is longer", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const asking = (seconds: number) => () =>
      new Response("{}", { status: 503, headers: { "retry-after": String(seconds) } });
    expect(await waitsOf(asking(3))).toEqual([3_000, 3_000, 3_000, 4_000]);
    expect(await waitsOf(asking(90), 65_000)).toEqual([30_000, 30_000]);
  });
});

/** The dials of sockets, each with its time; `open` decides what becomes of a dial. */
const dials: { at: number; socket: FakeSocket }[] = [];

/** A socket that nobody answers. */
class FakeSocket extends EventTarget {
  readonly url: string;
  readyState = 0;
  binaryType = "blob";

  constructor(url: string) {
    super();
    this.url = url;
    dials.push({ at: Date.now(), socket: this });
    setTimeout(() => this.fail(), 1);
  }

  fail(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("error"), { message: "no route" }));
  }

  send(): void {}

  close(): void {
    this.readyState = 3;
  }
}

describe("the waits of a subscription that finds no edge", () => {
  /** Follows a job for so long; returns the times between the dials, milliseconds. */
  async function gapsFor(ms: number): Promise<number[]> {
    dials.length = 0;
    const fetch = async () => Response.json(jobResource());
    const client = new DialoutClient({ url: URL, fetch, WebSocket: FakeSocket });
    client.job(JOB_ID).follow({});
    await vi.advanceTimersByTimeAsync(ms);
    client.close();
    return dials.slice(1).map(({ at }, index) => at - (dials[index]?.at ?? 0));
  }

  test.each([
    ["shortest", 0, 250, 8_000],
    ["longest", 0.999_999, 750, 12_000],
  ])(
    "grow from one dial to the next up to a bound, if chance makes them the %s",
    async (_, random, first, bound) => {
      vi.spyOn(Math, "random").mockReturnValue(random);
      const gaps = await gapsFor(120_000);
      expect(gaps[0]).toBeGreaterThanOrEqual(first);
      expect(gaps[0]).toBeLessThan(first * 1.2);
      expect(gaps.at(-1)).toBeGreaterThanOrEqual(bound - 1);
      expect(gaps.at(-1)).toBeLessThan(bound * 1.1);
      for (const [index, gap] of gaps.slice(1).entries()) {
        const before = gaps[index] ?? 0;
        expect(gap).toBeGreaterThan(Math.min(before * 1.4, bound - 1));
      }
    },
  );

  test("don't end: an edge that comes back after an hour is found", async () => {
    const gaps = await gapsFor(3_600_000);
    expect(gaps.length).toBeGreaterThan(200);
    expect(Math.max(...gaps.slice(-10))).toBeLessThan(13_000);
  });
});
