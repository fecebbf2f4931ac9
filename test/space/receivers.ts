import { beforeEach, vi } from "vitest";
import type { DeliveryResource } from "../../src/protocol/resources.ts";
import { ADMIN } from "../support/callers.ts";
import { type SpaceHost, ulidOf } from "./space-host.ts";

export interface Call {
  url: string;
  at: number;
  headers: Record<string, string>;
  body: string;
}

type Answer = (call: Call, signal: AbortSignal) => Promise<number>;

export const HOOK = "http://127.0.0.1:9000/hook";

/** What the receivers of webhooks were sent in this test, and how they answer. */
export const receivers = {
  calls: [] as Call[],
  /** Returns the status of an answer, or rejects. */
  answer: (async () => 204) as Answer,
  /** How many calls are open at the moment, and how many were at most. */
  open: 0,
  most: 0,
};

/** Has every test of this file send its webhooks to `receivers`. */
export function sendToReceivers(): void {
  beforeEach(() => {
    Object.assign(receivers, { calls: [], answer: async () => 204, open: 0, most: 0 });
    // What a receiver did wrong may be logged.
    for (const level of ["error", "warn"] as const) {
      vi.spyOn(console, level).mockImplementation(() => undefined);
    }
    // Its own timeout has a clock that tests don't set.
    vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(new DOMException("timed out", "TimeoutError")), ms);
      return controller.signal;
    });
    vi.stubGlobal("fetch", receive);
  });
}

async function receive(url: string, init: RequestInit): Promise<Response> {
  const headers = init.headers as Record<string, string>;
  const call = { url, at: Date.now(), headers, body: String(init.body) };
  receivers.calls.push(call);
  receivers.open += 1;
  receivers.most = Math.max(receivers.most, receivers.open);
  try {
    const status = await receivers.answer(call, init.signal as AbortSignal);
    return new Response(null, { status });
  } finally {
    receivers.open -= 1;
  }
}

/** Never answers; the sender gives up at some time. */
export function hang(_call: Call, signal: AbortSignal): Promise<number> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

export async function deliveries(space: SpaceHost, id: string): Promise<DeliveryResource[]> {
  const reply = await space.object.webhookDeliveries(ADMIN, ulidOf(id));
  return reply.ok ? JSON.parse(reply.body).deliveries : [];
}

/** Submits a job to each address and cancels it at once, which is one message to each. */
export async function endJobs(space: SpaceHost, urls: readonly string[]): Promise<string[]> {
  const ids = await space.submitAll(
    urls.map((url) => ({ webhook: { url, events: ["completed"] } })),
  );
  for (const id of ids) await space.cancel(id);
  return ids;
}
