import { describe, expect, it, vi } from "vitest";
import { throttledAs } from "../../src/channel/throttle.ts";
import { deliverEvents } from "../../src/objects/deliver-events.ts";
import { EarliestAlarm } from "../../src/objects/earliest-alarm.ts";
import { closeExpiredSessions } from "../../src/objects/expiring-tokens.ts";
import { fingerprintOf } from "../../src/objects/fingerprint.ts";
import { type Bucket, spend, TokenBucketLimiter } from "../../src/objects/rate-limiter.ts";
import { readSocketRequest, socketHeaders } from "../../src/objects/socket-request.ts";
import { startTimer } from "../../src/objects/start-timer.ts";
import { offeredProtocols, protocolHeader } from "../../src/objects/subprotocol.ts";
import { ADMIN, ANYBODY } from "../support/callers.ts";
import { pass, runInFakeRuntime, START } from "../support/runtime/globals.ts";

runInFakeRuntime();

describe("the one alarm of an object", () => {
  function alarmOf(setFor: number | null) {
    const set: number[] = [];
    const storage = { getAlarm: async () => setFor, setAlarm: (at: number) => void set.push(at) };
    return { alarm: new EarliestAlarm(storage as unknown as DurableObjectStorage), set };
  }

  it("is set for the earliest of all that is due", async () => {
    const { alarm, set } = alarmOf(null);
    await alarm.load();
    for (const at of [50, 60, null, 50, 40, 45]) alarm.arm(at);
    expect(set).toEqual([50, 40]);
    expect(alarm.dueAt).toBe(40);
    alarm.forget();
    expect(alarm.dueAt).toBe(null);
    alarm.arm(70);
    expect(set).toEqual([50, 40, 70]);
  });

  it("stays as it was set before the object lost its memory, if that is earlier", async () => {
    const { alarm, set } = alarmOf(30);
    await alarm.load();
    expect(alarm.dueAt).toBe(30);
    alarm.arm(40);
    alarm.arm(20);
    expect(set).toEqual([20]);
  });
});

describe("the limiter of frames", () => {
  const RATE = { burst: 10, perSecond: 5 };

  it("lets a burst pass, and then as many as its rate earns", () => {
    let bucket: Bucket | null = null;
    const take = (now: number, count?: number) => {
      const after = spend(bucket, RATE, now, count);
      bucket = after ?? bucket;
      return after !== null;
    };
    for (let frame = 0; frame < 10; frame += 1) expect(take(0)).toBe(true);
    expect(take(0)).toBe(false);
    expect(take(199)).toBe(false);
    expect(take(200)).toBe(true);
    expect(take(200)).toBe(false);
    expect(take(1_200, 5)).toBe(true);
    expect(take(1_200)).toBe(false);
    // It never saves more than a burst, and a clock that was set back earns nothing.
    expect(take(1_000_000, 10)).toBe(true);
    expect(take(0)).toBe(false);
  });

  it("has a bucket for each client", () => {
    const limiter = new TokenBucketLimiter<object>(RATE);
    const [first, second] = [{}, {}];
    expect(limiter.admits(first, 0, 10)).toBe(true);
    expect(limiter.admits(first, 0)).toBe(false);
    expect(limiter.admits(second, 0, 10)).toBe(true);
    expect(limiter.admits(first, 1_000, 5)).toBe(true);
    expect(limiter.admits(first, 1_000)).toBe(false);
  });
});

describe("what the Worker tells an object about a socket", () => {
  it("arrives as it was, whatever characters it has", () => {
    const headers = socketHeaders(
      { kind: "subscriber", caller: { ...ADMIN, address: "ä→😀" }, since: "a:1", maxRate: 2 },
      { "sec-websocket-protocol": "dialout.v1" },
    );
    expect(headers.get("upgrade")).toBe("websocket");
    expect(headers.get("sec-websocket-protocol")).toBe("dialout.v1");
    expect(readSocketRequest(headers, "worker", "subscriber")).toMatchObject({
      kind: "subscriber",
      jobUlid: null,
      caller: { isAdmin: true, address: "ä→😀", local: false },
      origin: "",
      leaving: false,
      since: "a:1",
      maxRate: 2,
      acks: false,
      batch: false,
    });
  });

  it("says of which kind the socket is", () => {
    const none = { principal: null };
    const requests = [
      { kind: "worker", origin: "", tokenId: "t" },
      { kind: "subscriber", caller: ANYBODY },
      { kind: "backend-job", ...none },
      { kind: "room", ...none, filter: null, presence: true },
      { kind: "gateway", ...none },
    ] as const;
    for (const request of requests) {
      const read = readSocketRequest(socketHeaders(request), request.kind);
      expect(read).toMatchObject(request);
    }
  });

  it("is refused if it is missing, malformed, or for another kind of object", () => {
    const headers = socketHeaders({ kind: "worker", origin: "", tokenId: "t" });
    expect(() => readSocketRequest(headers, "subscriber")).toThrow("wrong object");
    expect(() => readSocketRequest(new Headers(), "worker")).toThrow();
    expect(() => readSocketRequest(new Headers({ "x-dialout-socket": "{}" }), "worker")).toThrow();
  });
});

describe("the subprotocol of an answer", () => {
  const offer = (text?: string) => ({
    headers: new Headers(text === undefined ? {} : { "sec-websocket-protocol": text }),
  });

  it("is the first that the client offers and the edge knows, none otherwise (C5)", () => {
    const both = ["dialout.worker.v1", "dialout.v1"];
    const header = (name: string) => ({ "sec-websocket-protocol": name });
    expect(protocolHeader(offer("x, dialout.v1 ,dialout.worker.v1"), both)).toEqual(
      header("dialout.v1"),
    );
    expect(protocolHeader(offer("dialout.worker.v1,dialout.v1"), both)).toEqual(
      header("dialout.worker.v1"),
    );
    expect(protocolHeader(offer("dialout.worker.v1, dialout.v1"))).toEqual(header("dialout.v1"));
    expect(protocolHeader(offer("dialout.token.abc"))).toEqual({});
    expect(protocolHeader(offer())).toEqual({});
    expect(offeredProtocols(offer("a , b,c").headers)).toEqual(["a", "b", "c"]);
  });
});

describe("the fingerprint of a submit", () => {
  const file = { field: "f", name: "n", sha256: "s", content_type: "t", size: 1, key: "k" };

  it("is equal whatever the order of fields, and where a file is stored or of what type it is (H10b)", () => {
    const one = fingerprintOf({ a: 1, b: { c: 2, d: 3 } }, [file], { x: 1, y: 2 });
    const other = { ...file, key: "other", content_type: "other", size: 2 };
    expect(fingerprintOf({ b: { d: 3, c: 2 }, a: 1 }, [other], { y: 2, x: 1 })).toBe(one);
  });

  it("is another one for other input, files or options (H10b)", () => {
    const prints = [
      fingerprintOf({ a: 1 }, [file], {}),
      fingerprintOf({ a: 2 }, [file], {}),
      fingerprintOf({ a: [1] }, [file], {}),
      fingerprintOf({ a: 1 }, [], {}),
      fingerprintOf({ a: 1 }, [file, file], {}),
      fingerprintOf({ a: 1 }, [{ ...file, field: "g" }], {}),
      fingerprintOf({ a: 1 }, [{ ...file, name: "m" }], {}),
      fingerprintOf({ a: 1 }, [{ ...file, sha256: "z" }], {}),
      fingerprintOf({ a: 1 }, [file], { x: 1 }),
    ];
    expect(new Set(prints).size).toBe(prints.length);
    expect(prints.every((print) => /^[\w-]{43}$/.test(print))).toBe(true);
  });
});

describe("the events of a job", () => {
  const frames = [
    { type: "progress" as const, status: "processing", offset: 1, progress: 1 },
    { type: "output" as const, offset: 2, delta: "x" },
  ];

  it("go to every follower, even if one of them fails, and then its end (S4)", () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const sent: [number, string][] = [];
    const throttledTo: [number, number][] = [];
    const ended: number[] = [];
    const followers = [1, 2, 3, 4].map((id) => ({
      id,
      attachment: { throttled: id === 3 ? throttledAs(1, false) : null },
    }));
    const delivery = {
      throttle: {
        send: ({ id }: { id: number }, events: readonly unknown[]) =>
          void throttledTo.push([id, events.length]),
      } as never,
      sendText: ({ id }: { id: number }, text: string) => {
        if (id === 1) throw new Error("closed");
        sent.push([id, text]);
      },
      onEnd: ({ id }: { id: number }) => {
        ended.push(id);
        if (id === 2) throw new Error("closed");
      },
    };
    deliverEvents(followers, frames, delivery, START);
    expect(sent).toEqual(
      [2, 4].flatMap((id) =>
        frames.map((frame) => [id, JSON.stringify(frame)] as [number, string]),
      ),
    );
    expect(throttledTo).toEqual([[3, 2]]);
    expect(ended).toEqual([1, 2, 3, 4]);
    expect(errors).toHaveBeenCalledTimes(2);
    deliverEvents(followers, frames, { ...delivery, onEnd: null }, START);
    expect(ended).toHaveLength(4);
  });
});

describe("sessions whose tokens expire", () => {
  it("are warned half a minute before, once, and closed when it is over (R11)", () => {
    const session = (expiresAt: number | null, noticed = false) => ({
      name: String(expiresAt),
      attachment: {
        noticed,
        principal:
          expiresAt === null
            ? { kind: "operator" as const }
            : { kind: "user" as const, userId: "ann", expiresAt, rooms: [], publish: [] },
      },
    });
    const sessions = [
      session(START),
      session(START + 30_000),
      session(START + 30_001),
      session(START + 10_000, true),
      session(null),
    ];
    const log: unknown[] = [];
    closeExpiredSessions(sessions, START, {
      send: ({ name }, frame) => log.push(["send", name, frame]),
      onWarned: ({ name }) => log.push(["warned", name]),
      end: ({ name }) => log.push(["end", name]),
    });
    const expires_at = new Date(START + 30_000).toISOString();
    expect(log).toEqual([
      [
        "send",
        String(START),
        expect.objectContaining({ type: "connection.error", code: "not_authenticated" }),
      ],
      ["end", String(START)],
      ["send", String(START + 30_000), { type: "connection.expiring", expires_at }],
      ["warned", String(START + 30_000)],
    ]);
  });
});

describe("a timer", () => {
  it("calls back with the time, unless it was cancelled", async () => {
    const fired: number[] = [];
    startTimer(10, (now) => fired.push(now));
    const cancel = startTimer(10, (now) => fired.push(now));
    cancel();
    await pass(20);
    expect(fired).toEqual([START + 10]);
  });
});
