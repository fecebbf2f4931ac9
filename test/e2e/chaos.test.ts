import { describe, expect, it } from "vitest";
import { chaos } from "../chaos/chaos.ts";

describe("under load, with edge and workers killed at random moments", () => {
  it("every accepted job ends once, in order and with its result, and followers miss nothing", async () => {
    const { violations, ...counts } = await chaos(10, 20_261_121);
    expect(violations).toEqual([]);
    expect(counts.edgeKills).toBeGreaterThan(0);
    expect(counts.takenBack).toBeGreaterThan(0);
    expect(counts.resumed).toBeGreaterThan(0);
  });
});
