import { describe, expect, test } from "vitest";
import { OutageLog } from "../../worker-client/outage-log.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** An outage log with a clock that the test moves, and the lines that it wrote without `debug`. */
function start() {
  let now = 0;
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const log = { debug: () => undefined, info: note, warn: note, error: note };
  const outages = new OutageLog(log, () => now);
  /** Fails to connect every few seconds for so long. */
  const fail = (ms: number, why = "nothing listens at edge:1") => {
    for (const end = now + ms; now < end; now += 5_000) outages.onProblem(why, "; trying again");
  };
  const wait = (ms: number) => {
    now += ms;
  };
  return { outages, lines, fail, wait };
}

describe("an outage", () => {
  test("is reported when it begins, after 1, 5, 30 and 60 minutes, and then every hour", () => {
    const { lines, fail } = start();
    fail(3 * HOUR + MINUTE);
    expect(lines).toEqual([
      "nothing listens at edge:1; trying again",
      ...["1 minute", "5 minutes", "30 minutes", "60 minutes", "2 hours", "3 hours"].map(
        (time) => `no steady connection for ${time}: nothing listens at edge:1; trying again`,
      ),
    ]);
  });

  test("of days fills no log", () => {
    const { lines, fail } = start();
    fail(3 * 24 * HOUR);
    expect(lines.length).toBeLessThan(80);
    expect(lines.at(-1)).toContain("for 2 days");
  });

  test("is over with one line that says how long it was", () => {
    const { outages, lines, fail } = start();
    fail(12 * MINUTE);
    outages.onConnected("connected");
    expect(lines.at(-1)).toBe("connected, after 12 minutes without a steady connection");
  });

  test("of a moment is not counted in minutes", () => {
    const { outages, lines, fail } = start();
    outages.onConnected("connected");
    fail(10_000, "connection closed (1012)");
    outages.onConnected("connected");
    expect(lines).toEqual(["connected", "connection closed (1012); trying again", "connected"]);
  });

  test("is reported again when its reason is another one, but not without end", () => {
    const { lines, fail } = start();
    fail(5_000);
    for (let status = 500; status < 600; status += 1) fail(5_000, `status ${status}`);
    expect(lines.slice(0, 3)).toEqual([
      "nothing listens at edge:1; trying again",
      "status 500; trying again",
      "status 501; trying again",
    ]);
    expect(lines.length).toBeLessThan(10);
  });

  test("goes on while connections break at once, without two lines for each", () => {
    const { outages, lines, wait } = start();
    for (let connection = 0; connection < 1_000; connection += 1) {
      outages.onConnected("connected");
      outages.onComplaint("the edge says: busy");
      wait(1_000);
      outages.onProblem("connection closed (1006)");
    }
    expect(lines.length).toBeLessThan(15);
    expect(lines.at(-1)).toMatch(/no steady connection for \d+ minutes: connection closed/);
  });

  test("after a steady connection is a new one", () => {
    const { outages, lines, fail, wait } = start();
    fail(2 * MINUTE);
    outages.onConnected("connected");
    wait(2 * MINUTE);
    outages.onComplaint("the edge says: drain");
    outages.onComplaint("the edge says: drain");
    fail(5_000);
    expect(lines.slice(-3)).toEqual([
      "the edge says: drain",
      "the edge says: drain",
      "nothing listens at edge:1; trying again",
    ]);
  });
});
