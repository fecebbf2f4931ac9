import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WORKER_PROTOCOL } from "../../src/protocol/worker-frames.ts";
import type { LinkClose } from "../../worker-client/refusal.ts";
import {
  checkHello,
  type HelloFrame,
  type RegisteredFrame,
  type SessionEffect,
  step,
  type WakeReason,
  type WorkerSession,
} from "../../worker-client/session.ts";

const HELLO: HelloFrame = {
  type: "hello",
  protocol: WORKER_PROTOCOL,
  space: "echo",
  heartbeat_s: 30,
  lease_s: 90,
  max_frame_bytes: 1_048_576,
  batch: false,
};
const REGISTERED: RegisteredFrame = {
  type: "registered",
  generation: 1,
  config: {
    concurrency: 1,
    job_timeout_s: 120,
    first_output_timeout_s: null,
    stall_timeout_s: null,
    reconnect_grace_s: 15,
  },
  resumed: [],
  dropped: [],
};
const UNREACHABLE: LinkClose = { type: "unreachable", message: "nothing listens" };

const STARTED: WakeReason = { type: "started" };
const RETRY: WakeReason = { type: "retry_due" };
const OPENED: WakeReason = { type: "opened" };
const HELLO_CAME: WakeReason = { type: "hello", hello: HELLO };
const WELCOMED: WakeReason = { type: "registered", registered: REGISTERED };
const LEAVE: WakeReason = { type: "leave" };
const UNUSABLE: WakeReason = { type: "unusable", why: "silent" };
const LOST: WakeReason = { type: "closed", close: UNREACHABLE, waits: false };

/** Half of the longest wait is drawn each time, so a wait shows the number of failures. */
const HALF = 0.5;

/** Lives through events; returns where that ends, and every effect on the way. */
function live(...reasons: WakeReason[]) {
  let session: WorkerSession = { phase: "waiting", failures: 0 };
  const effects: SessionEffect[] = [];
  for (const reason of reasons) {
    const next = step(session, reason, HALF);
    session = next.session;
    effects.push(...next.effects);
  }
  return { session, effects, types: effects.map(({ type }) => type) };
}

/** The waits before the dials, milliseconds. */
function waits(effects: SessionEffect[]): number[] {
  return effects.flatMap((effect) => ("ms" in effect ? [effect.ms] : []));
}

const CONNECT = [STARTED, OPENED, HELLO_CAME, WELCOMED];

describe("the connection of a worker", () => {
  test("dials, registers when the edge has said `hello`, and resumes its jobs (W5, W6)", () => {
    const { session, effects } = live(...CONNECT);
    expect(session).toEqual({ phase: "registered", hello: HELLO });
    expect(effects).toEqual([
      { type: "dial" },
      { type: "register", hello: HELLO },
      { type: "resume", hello: HELLO, registered: REGISTERED },
    ]);
  });

  test("registers once and resumes once, however often the edge says `hello` and `registered`", () => {
    const again = [HELLO_CAME, HELLO_CAME, WELCOMED, HELLO_CAME, WELCOMED, WELCOMED, OPENED];
    expect(live(STARTED, OPENED, ...again).types).toEqual(["dial", "register", "resume"]);
  });

  test.each([
    ["`registered` before `register`", [STARTED, OPENED, WELCOMED], "awaiting_hello"],
    ["`hello` before the socket is open", [STARTED, HELLO_CAME], "dialing"],
    ["a retry while it dials", [STARTED, RETRY, STARTED], "dialing"],
    ["a retry while it is registered", [...CONNECT, RETRY], "registered"],
    ["anything after its end", [LEAVE, STARTED, RETRY, LOST, LEAVE, UNUSABLE], "ended"],
    ["trouble while it waits to dial again", [STARTED, LOST, UNUSABLE], "waiting"],
  ])("is not changed by %s", (_, reasons, phase) => {
    const before = live(...reasons);
    expect(before.session.phase).toBe(phase);
    const dials = before.types.filter((type) => type === "dial" || type === "register");
    expect(dials.length).toBeLessThanOrEqual(reasons === CONNECT ? 2 : dials.length);
    expect(before.types).not.toContain("terminate");
  });

  test("is dropped if it is unusable, in every phase in which there is one", () => {
    for (let length = 1; length <= CONNECT.length; length += 1) {
      const { effects, session } = live(...CONNECT.slice(0, length), UNUSABLE);
      expect(effects.at(-1)).toEqual({ type: "terminate", why: "silent" });
      // It goes on only once the socket is closed.
      expect(session).toEqual(live(...CONNECT.slice(0, length)).session);
    }
  });
});

describe("the wait before a worker dials again", () => {
  test("grows with each connection in a row that did not register (W31)", () => {
    const attempts = [STARTED, LOST, RETRY, LOST, RETRY, OPENED, LOST, RETRY, OPENED, HELLO_CAME];
    const { effects, session } = live(...attempts, LOST, RETRY, LOST, RETRY, LOST);
    expect(waits(effects)).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    expect(session).toEqual({ phase: "waiting", failures: 6 });
    expect(effects.at(-1)).toMatchObject({ type: "retry_in", why: "nothing listens" });
  });

  test("begins again after a connection that registered (W31)", () => {
    const { effects } = live(STARTED, LOST, RETRY, LOST, RETRY, ...CONNECT.slice(1), LOST);
    expect(waits(effects)).toEqual([500, 1_000, 500]);
  });

  test("grows while others have every place, too (W7c)", () => {
    const close: LinkClose = { type: "closed", code: 4409, reason: "taken", error: null };
    const occupied: WakeReason = { type: "closed", close, waits: true };
    const dial = [RETRY, OPENED, HELLO_CAME, occupied];
    const { effects, types } = live(...dial, ...dial, ...dial);
    expect(waits(effects)).toEqual([500, 1_000, 2_000]);
    expect(types.filter((type) => type === "wait_for_place")).toHaveLength(3);
  });

  test("is the one that the worker's options name", () => {
    const session: WorkerSession = { phase: "dialing", failures: 2 };
    const { effects } = step(session, LOST, HALF, { firstMs: 10, capMs: 1_000 });
    expect(waits(effects)).toEqual([20]);
  });
});

describe("a worker that leaves", () => {
  test.each([
    ["that waits ends at once", [], ["end"]],
    ["that dials drops the dial", [STARTED], ["dial", "terminate"]],
    ["that waits for `hello` closes the socket", [STARTED, OPENED], ["dial", "close"]],
    ["that is registered closes the socket", CONNECT, ["dial", "register", "resume", "close"]],
  ])("%s", (_, reasons, types) => {
    const left = live(...reasons, LEAVE, LEAVE);
    expect(left.types).toEqual(types);
    const close = left.effects.find((effect) => effect.type === "close");
    if (close) expect(close).toEqual({ type: "close", code: 1000 });
    const ended = live(...reasons, LEAVE, LOST);
    expect(ended.session).toEqual({ phase: "ended" });
    expect(ended.effects.at(-1)).toEqual({ type: "end", refusal: null });
  });

  test("never dials again, whatever happens meanwhile", () => {
    const reasons = fc.constantFrom(
      ...[STARTED, RETRY, OPENED, HELLO_CAME, WELCOMED, LEAVE, UNUSABLE, LOST],
    );
    fc.assert(
      fc.property(fc.array(reasons), fc.array(reasons), (before, after) => {
        const { types } = live(...before, LEAVE, ...after);
        const dialsBefore = live(...before).types.filter((type) => type === "dial");
        expect(types.filter((type) => type === "dial")).toHaveLength(dialsBefore.length);
        expect(types.filter((type) => type === "end").length).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("the `hello` of an edge", () => {
  test("is used if the edge speaks this protocol and takes frames of 1024 bytes (W5)", () => {
    expect(checkHello({ ...HELLO, max_frame_bytes: 1_024 }).type).toBe("hello");
    expect(checkHello({ ...HELLO, max_frame_bytes: 1_023 })).toEqual({
      type: "unusable",
      why: "the edge accepts frames of only 1023 bytes",
    });
    expect(checkHello({ ...HELLO, protocol: "dialout.worker.v9" })).toEqual({
      type: "unusable",
      why: `the edge speaks dialout.worker.v9, not ${WORKER_PROTOCOL}`,
    });
  });
});
