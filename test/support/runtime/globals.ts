import { afterEach, beforeEach, vi } from "vitest";
import { DialedSocket } from "./dialed-socket.ts";
import { expectNoErrors, noteError } from "./errors.ts";
import { FakeSocket } from "./socket.ts";

/** When every test begins. */
export const START = Date.UTC(2026, 10, 20, 10);

/** The runtime's answer to an upgrade: a `Response` of Node.js can't have the status 101. */
class UpgradableResponse extends Response {
  override readonly webSocket: WebSocket | null;

  constructor(body: BodyInit | null, init: ResponseInit = {}) {
    super(body, { ...init, status: init.status === 101 ? 200 : (init.status ?? 200) });
    this.webSocket = init.webSocket ?? null;
  }
}

class FakePair {
  readonly 0: FakeSocket;
  readonly 1: FakeSocket;

  constructor() {
    // Both ends are one thing: what the object sends can be read there, and what the client does is called there.
    this[0] = new FakeSocket();
    this[1] = this[0];
  }
}

/**
 * Gives every test of this file a clock of its own, and what objects expect of their runtime. A test fails if an error
 * is logged that it doesn't expect: one that expects errors replaces `console.error`.
 */
export function runInFakeRuntime(): void {
  beforeEach(() => {
    begun += 1;
    vi.useFakeTimers({
      now: START,
      toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"],
    });
    vi.stubGlobal("Response", UpgradableResponse);
    vi.stubGlobal("WebSocket", DialedSocket);
    vi.stubGlobal("WebSocketPair", FakePair);
    vi.stubGlobal("WebSocketRequestResponsePair", class {});
    vi.stubGlobal("console", { ...console, error: noteError });
    const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    vi.stubGlobal("scheduler", { wait });
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    vi.useRealTimers();
    expectNoErrors();
  });
}

/** Lets this many milliseconds pass, and everything happen that is due meanwhile. */
export async function pass(ms = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** How many tests have begun: whoever outlives its test must not move the clock of the next one. */
let begun = 0;

/** Lets time pass, a millisecond at a time, until this has resolved. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  const during = begun;
  let isSettled = false;
  const done = () => {
    isSettled = true;
  };
  promise.then(done, done);
  for (let passed = 0; !isSettled && passed < 100 && during === begun; passed += 1) await pass();
  if (!isSettled && during === begun) throw new Error("nothing came of it within 100 ms");
  return promise;
}
