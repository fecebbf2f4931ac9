import { onTestFinished, vi } from "vitest";
import { type ClientOptions, DialoutClient } from "../../src/client/index.ts";
import { FakeSubscriberEdge } from "../support/fake-subscriber-edge.ts";

export const JOB_ID = "demo.01JZZZZZZZZZZZZZZZZZZZZZZZ";

/** Starts a fake edge and a client for it; both are closed when the test ends. */
export async function startClient(options: ClientOptions = {}) {
  const edge = await FakeSubscriberEdge.start();
  return { edge, client: clientOf(edge, options) };
}

export function clientOf(edge: { url: string }, options: ClientOptions = {}): DialoutClient {
  const client = new DialoutClient({ url: edge.url, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** A token that expires the given number of seconds from now; its signature is never checked. */
export function tokenFor(seconds: number, name = "ada"): string {
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: name, exp })}.signature`;
}

/** How much faster time passes than in truth, and how long each step of it takes. */
const FACTOR = 20;
const STEP_MS = 10;

/** Lets time pass faster in this process until the test ends: for what a client does only after seconds. */
export function speedTimeUp(): void {
  const { setInterval, clearInterval } = globalThis;
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"],
  });
  const steps = setInterval(() => vi.advanceTimersByTime(STEP_MS * FACTOR), STEP_MS);
  onTestFinished(() => {
    clearInterval(steps);
    vi.useRealTimers();
  });
}
