/** The load generator: one submitter that keeps a number of submits in flight. */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { DialoutSubmitter } from "../clients/dialout.ts";
import { inParallel } from "../clients/in-parallel.ts";
import { RelaySubmitter } from "../clients/relay.ts";
import type { Submitter } from "../clients/submitter.ts";
import { quantile } from "../statistics.ts";
import { answerCalls } from "./child.ts";

export type LoadTarget =
  | { kind: "dialout" | "relay" | "socketio"; url: string }
  | { kind: "bullmq"; port: number }
  | { kind: "http"; url: string; body: string; connections: number };

export interface LoadSample {
  submits: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

const calls = {
  async connect(target: LoadTarget): Promise<void> {
    submitter = await open(target);
  },
  measure,
  /** One submit at a time, with a pause after each. */
  async trickle({ submits, pauseMs }: { submits: number; pauseMs: number }): Promise<void> {
    for (let sent = 0; sent < submits; sent += 1) {
      await submitter?.submit();
      await sleep(pauseMs);
    }
  },
  /** Submits jobs until `jobs` are accepted; resolves with the milliseconds it took. */
  async fill({ jobs, inFlight }: { jobs: number; inFlight: number }): Promise<number> {
    if (!(submitter instanceof DialoutSubmitter)) throw new Error("only Dialout can be filled");
    const filled = submitter;
    const startedAt = performance.now();
    let left = jobs;
    await inParallel(inFlight, async () => {
      for (; left > 0; ) {
        left -= 1;
        await filled.enqueue();
      }
    });
    return performance.now() - startedAt;
  },
};
export type LoadCalls = typeof calls;

let submitter: Submitter | null = null;
answerCalls(calls);

/** A peer's package is imported only when that peer is measured: it may not be installed. */
async function open(target: LoadTarget): Promise<Submitter> {
  switch (target.kind) {
    case "dialout":
      return new DialoutSubmitter(target.url);
    case "relay":
      return new RelaySubmitter(target.url);
    case "socketio": {
      const { SocketIoSubmitter } = await import("../clients/socketio.ts");
      return new SocketIoSubmitter(target.url);
    }
    case "bullmq": {
      const { BullSubmitter } = await import("../clients/bullmq.ts");
      return new BullSubmitter(target.port);
    }
    case "http": {
      const { HttpSubmitter } = await import("../clients/http.ts");
      return new HttpSubmitter(target.url, target.body, target.connections);
    }
  }
}

/** Submits in flight when the time is over are waited for, but not counted. */
async function measure(timing: { inFlight: number; ms: number }): Promise<LoadSample> {
  const measured = submitter;
  if (!measured) throw new Error("connect first");
  const latencies: number[] = [];
  const endsAt = performance.now() + timing.ms;
  await inParallel(timing.inFlight, async () => {
    for (let sentAt = performance.now(); sentAt < endsAt; ) {
      await measured.submit();
      const now = performance.now();
      if (now < endsAt) latencies.push(now - sentAt);
      sentAt = now;
    }
  });
  return {
    submits: latencies.length,
    perSecond: (latencies.length / timing.ms) * 1_000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}
