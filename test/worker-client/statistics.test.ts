import { describe, expect, test } from "vitest";
import { BusyClock, describeStatistics } from "../../worker-client/statistics.ts";

describe("the busy time of a worker", () => {
  test("is the time in which at least one job runs, however many there are", () => {
    const clock = new BusyClock();
    expect(clock.seconds(5_000)).toBe(0);
    clock.enter(10_000);
    clock.enter(12_000);
    expect(clock.seconds(13_000)).toBe(3);
    clock.leave(14_000);
    clock.leave(16_000);
    expect(clock.seconds(20_000)).toBe(6);
    clock.enter(30_000);
    expect(clock.seconds(31_500)).toBe(7.5);
    clock.leave(32_000);
    expect(clock.seconds(99_000)).toBe(8);
  });
});

describe("the statistics of a worker", () => {
  const jobs = {
    received: 9,
    completed: 4,
    failed: 2,
    canceled: 1,
    rejected: 1,
    stale: 1,
    held: 0,
  };
  const rest = { reconnects: 2, bytesIn: 1_048_576, bytesOut: 999, uptimeS: 61.25, busyS: 7 };

  test("are two lines", () => {
    expect(describeStatistics({ jobs, ...rest })).toEqual([
      "jobs: 9 received, 4 completed, 2 failed, 1 canceled, 1 rejected, 1 stale",
      "up 61.3 s, busy 7.0 s, reconnects 2, 1,048,576 bytes in, 999 bytes out",
    ]);
  });

  test("name the jobs whose end the edge has not acknowledged, if there are any", () => {
    const [line] = describeStatistics({ jobs: { ...jobs, held: 1 }, ...rest });
    expect(line).toMatch(/, 1 stale, 1 not acknowledged$/);
  });
});
