import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dueOf, erasedAt, type SocketTimes, socketDueAt } from "../../src/backend-job/deadlines.ts";
import { reported } from "../../src/backend-job-model/report.ts";
import { newJob, reportOf, START } from "./example.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const QUIET: SocketTimes = {
  openedAt: START,
  pending: null,
  ping: null,
  expiresAt: null,
  heardAt: START,
  pingedAt: 0,
};
const PUBLIC = newJob().job;
const PRIVATE = newJob({ visibility: "private" }).job;

/** What the runtime knows of the socket's pings, of an edge that never stood still. */
const pinged = (lastPingAt: number | null) => ({ lastPingAt, resumedAt: 0 });

const instants = fc.integer({ min: START, max: START + 7 * DAY_MS });
const times: fc.Arbitrary<SocketTimes> = fc.record({
  openedAt: instants,
  pending: fc.option(fc.record({ since: instants })),
  ping: fc.option(fc.record({ at: instants })),
  expiresAt: fc.option(instants),
  heardAt: instants,
  pingedAt: fc.constant(0),
});

describe("a backend's job", () => {
  it("is erased `result_ttl_s` after its end (B15)", () => {
    const { job } = newJob({ result_ttl_s: 1.5 });
    const end = reported(job, reportOf({ type: "complete" }), START + 10);
    expect(erasedAt(end.job)).toBe(START + 10 + 1_500);
  });

  it("is erased a week after its last report if it never ends (B15)", () => {
    const { job } = reported(PUBLIC, reportOf({ type: "progress" }), START + DAY_MS);
    expect(erasedAt(job)).toBe(START + 8 * DAY_MS);
  });
});

describe("a socket of a backend's job", () => {
  it("has no deadline if it waits for nothing, however long it is open", () => {
    expect(socketDueAt(QUIET, PUBLIC)).toBeNull();
    expect(dueOf(QUIET, PUBLIC, pinged(null), START + 100 * DAY_MS)).toBeNull();
  });

  it("has nothing due before the time of its alarm, and something at that time", () => {
    fc.assert(
      fc.property(times, fc.constantFrom(null, PUBLIC, PRIVATE), (socket, job) => {
        const at = socketDueAt(socket, job);
        if (at === null) {
          expect(dueOf(socket, job, pinged(null), START + 100 * DAY_MS)).toBeNull();
          return;
        }
        expect(dueOf(socket, job, pinged(null), at - 1)).toBeNull();
        expect(dueOf(socket, job, pinged(null), at)).not.toBeNull();
      }),
    );
  });

  it("that waits for a job to be made is closed after an hour (B8b)", () => {
    const socket = { ...QUIET, pending: { since: START } };
    expect(dueOf(socket, null, pinged(null), START + 60 * MINUTE_MS - 1)).toBeNull();
    expect(dueOf(socket, null, pinged(null), START + 60 * MINUTE_MS)).toBe("unmade");
  });

  it("needs a valid token while its job is private, and none otherwise (B7a)", () => {
    const socket = { ...QUIET, expiresAt: START + MINUTE_MS };
    expect(dueOf(socket, PRIVATE, pinged(null), START + MINUTE_MS)).toBe("expired");
    expect(dueOf(socket, PUBLIC, pinged(null), START + MINUTE_MS)).toBeNull();
  });

  it("counts as silent three minutes after its last ping or frame, if it sends pings (B11b)", () => {
    const pingAt = START + MINUTE_MS;
    const late = pingAt + 3 * MINUTE_MS;
    expect(dueOf(QUIET, PUBLIC, pinged(null), late)).toBeNull();
    expect(dueOf(QUIET, PUBLIC, pinged(pingAt), late - 1)).toBeNull();
    expect(dueOf(QUIET, PUBLIC, pinged(pingAt), late)).toBe("silent");
    expect(dueOf({ ...QUIET, heardAt: pingAt + 1 }, PUBLIC, pinged(pingAt), late)).toBeNull();
  });

  it("does not count as silent before a whole time is over since the edge stood still (S21a)", () => {
    const pingAt = START + MINUTE_MS;
    const signs = { lastPingAt: pingAt, resumedAt: pingAt + 10 * MINUTE_MS };
    expect(dueOf(QUIET, PUBLIC, signs, signs.resumedAt + 3 * MINUTE_MS - 1)).toBeNull();
    expect(dueOf(QUIET, PUBLIC, signs, signs.resumedAt + 3 * MINUTE_MS)).toBe("silent");
  });

  it("that sent one ping when it was opened, and only listens since, never counts as silent (B11b, C16a)", () => {
    expect(dueOf(QUIET, PUBLIC, pinged(START + 9_999), START + DAY_MS)).toBeNull();
    expect(dueOf(QUIET, PUBLIC, pinged(START + 10_000), START + DAY_MS)).toBe("silent");
  });
});
