import type { z } from "zod";
import { CLOSE } from "../src/protocol/codes.ts";
import {
  type helloFrame,
  type registeredFrame,
  WORKER_PROTOCOL,
} from "../src/protocol/worker-frames.ts";
import { type Backoff, backoffMs } from "./backoff.ts";
import { judgeClose, type LinkClose, WorkerRefused } from "./refusal.ts";

export type HelloFrame = z.infer<typeof helloFrame>;
export type RegisteredFrame = z.infer<typeof registeredFrame>;

/** The state of a worker's connection. `failures` counts the connections in a row that did not register. */
export type WorkerSession =
  | { phase: "waiting"; failures: number }
  | { phase: "dialing"; failures: number }
  /** The socket is open; `hello` has not arrived yet. */
  | { phase: "awaiting_hello"; failures: number }
  | { phase: "registering"; failures: number; hello: HelloFrame }
  | { phase: "registered"; hello: HelloFrame }
  /** The worker leaves for good; its socket is being closed. */
  | { phase: "leaving" }
  | { phase: "ended" };

/** An event that may change the session. */
export type WakeReason =
  | { type: "started" }
  | { type: "retry_due" }
  | { type: "opened" }
  | { type: "hello"; hello: HelloFrame }
  | { type: "registered"; registered: RegisteredFrame }
  /** The connection is unusable: the edge is silent, or speaks another protocol. */
  | { type: "unusable"; why: string }
  /** `waits`: if every place for workers is taken, the worker waits for one instead of ending. */
  | { type: "closed"; close: LinkClose; waits: boolean }
  /** The worker was stopped, or was drained and holds no more attempts. */
  | { type: "leave" };

export type SessionEffect =
  | { type: "dial" }
  | { type: "register"; hello: HelloFrame }
  | { type: "resume"; hello: HelloFrame; registered: RegisteredFrame }
  /** Drop the connection without a closing handshake; the reason `closed` follows. */
  | { type: "terminate"; why: string }
  | { type: "close"; code: number }
  | { type: "retry_in"; ms: number; why: string }
  /** Every place for workers is taken: dial again then. */
  | { type: "wait_for_place"; ms: number; why: string }
  | { type: "end"; refusal: WorkerRefused | null };

export interface SessionStep {
  session: WorkerSession;
  effects: SessionEffect[];
}

/** Smaller frames would not even have room for a `fail` frame with its message. */
const LEAST_FRAME_BYTES = 1_024;

/** Checks that the edge's protocol and frame limit are usable. */
export function checkHello(hello: HelloFrame): WakeReason {
  if (hello.protocol !== WORKER_PROTOCOL) {
    return { type: "unusable", why: `the edge speaks ${hello.protocol}, not ${WORKER_PROTOCOL}` };
  }
  if (hello.max_frame_bytes < LEAST_FRAME_BYTES) {
    return {
      type: "unusable",
      why: `the edge accepts frames of only ${hello.max_frame_bytes} bytes`,
    };
  }
  return { type: "hello", hello };
}

/** Decides what a reason means for the connection: returns the new state and the effects to perform. */
export function step(
  session: WorkerSession,
  reason: WakeReason,
  random: number,
  backoff?: Backoff,
): SessionStep {
  switch (reason.type) {
    case "closed":
      return afterClose(session, reason, random, backoff);
    case "leave":
      return afterLeave(session);
    case "unusable":
      return isConnected(session)
        ? { session, effects: [{ type: "terminate", why: reason.why }] }
        : unchanged(session);
    default:
      return advance(session, reason);
  }
}

/** Moves one phase closer to `registered`; a reason that doesn't fit the phase changes nothing. */
function advance(
  session: WorkerSession,
  reason: Exclude<WakeReason, { type: "closed" | "leave" | "unusable" }>,
): SessionStep {
  switch (reason.type) {
    case "started":
    case "retry_due":
      if (session.phase !== "waiting") return unchanged(session);
      return { session: { ...session, phase: "dialing" }, effects: [{ type: "dial" }] };
    case "opened":
      if (session.phase !== "dialing") return unchanged(session);
      return { session: { ...session, phase: "awaiting_hello" }, effects: [] };
    case "hello": {
      if (session.phase !== "awaiting_hello") return unchanged(session);
      const { hello } = reason;
      return {
        session: { ...session, phase: "registering", hello },
        effects: [{ type: "register", hello }],
      };
    }
    case "registered": {
      if (session.phase !== "registering") return unchanged(session);
      const { hello } = session;
      const { registered } = reason;
      return {
        session: { phase: "registered", hello },
        effects: [{ type: "resume", hello, registered }],
      };
    }
  }
}

function afterClose(
  session: WorkerSession,
  { close, waits }: Extract<WakeReason, { type: "closed" }>,
  random: number,
  backoff?: Backoff,
): SessionStep {
  if (session.phase === "ended") return unchanged(session);
  if (session.phase === "leaving") return end(null);
  const verdict = judgeClose(close);
  const failures = "failures" in session ? session.failures : 0;
  const next: WorkerSession = { phase: "waiting", failures: failures + 1 };
  const ms = backoffMs(failures, random, backoff);
  if (verdict.type === "retry") {
    return { session: next, effects: [{ type: "retry_in", ms, why: verdict.why }] };
  }
  const { refusal } = verdict;
  // The same code tells a registered worker that it was replaced: two that replace each other must not go on so.
  if (refusal.code === "space_occupied" && session.phase === "registered") {
    return end(new WorkerRefused("replaced", refusal.message));
  }
  if (!(waits && refusal.code === "space_occupied")) return end(refusal);
  return { session: next, effects: [{ type: "wait_for_place", ms, why: refusal.message }] };
}

function afterLeave(session: WorkerSession): SessionStep {
  switch (session.phase) {
    case "waiting":
      return end(null);
    case "leaving":
    case "ended":
      return unchanged(session);
    case "dialing":
      return { session: { phase: "leaving" }, effects: [{ type: "terminate", why: "leaving" }] };
    default:
      return {
        session: { phase: "leaving" },
        effects: [{ type: "close", code: CLOSE.done.code }],
      };
  }
}

function end(refusal: WorkerRefused | null): SessionStep {
  return { session: { phase: "ended" }, effects: [{ type: "end", refusal }] };
}

function unchanged(session: WorkerSession): SessionStep {
  return { session, effects: [] };
}

function isConnected(session: WorkerSession): boolean {
  return session.phase !== "waiting" && session.phase !== "ended";
}
