import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isDelivered, nextAttemptAt } from "../../src/webhooks/retry.ts";

const NOW = 1_000_000;

describe("a webhook message that was not delivered", () => {
  it("is sent again after longer and longer delays, and then given up (H14d)", () => {
    const waits: number[] = [];
    for (let attempts = 1; ; attempts += 1) {
      const next = nextAttemptAt({ status: 500 }, attempts, NOW, 0.5);
      if (next === null) break;
      waits.push(next - NOW);
    }
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect([waits.length, waits[0]]).toEqual([7, 5_000]);
  });

  it("is sent again within a fifth of the delay, earlier or later", () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(random, (at) => {
        const next = nextAttemptAt({ error: "no answer" }, 1, NOW, at) ?? 0;
        expect(next - NOW).toBeGreaterThanOrEqual(4_000);
        expect(next - NOW).toBeLessThanOrEqual(6_000);
      }),
    );
  });

  it("is not sent again if the answer was 410 (H14d)", () => {
    expect(nextAttemptAt({ status: 410 }, 1, NOW, 0)).toBeNull();
  });

  it("is one whose answer was not 2xx, including redirects (H14c)", () => {
    const delivered = [200, 204, 299].map((status) => isDelivered({ status }));
    const failed = [199, 301, 404, 500].map((status) => isDelivered({ status }));
    expect([...delivered, ...failed, isDelivered({ error: "refused" })]).toEqual([
      ...[true, true, true],
      ...[false, false, false, false, false],
    ]);
  });
});

describe("the delays of a webhook message", () => {
  it("are 5 s, 30 s, 2 min, 10 min, 30 min, 2 h and 6 h in the middle of their range (H14d)", () => {
    const delays = Array.from({ length: 8 }, (_, failed) =>
      nextAttemptAt({ status: 500 }, failed + 1, 0, 0.5),
    );
    const seconds = [5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 3_600, 6 * 3_600];
    expect(delays).toEqual([...seconds.map((delay) => delay * 1_000), null]);
  });
});
