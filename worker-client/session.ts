import type { z } from "zod";
import { CLOSE } from "../src/protocol/codes.ts";
import {
  type helloFrame,
  type registeredFrame,
  WORKER_PROTOCOL,
} from "../src/protocol/worker-frames.ts";
import { type Backoff, backoffMs } from "./backoff.ts";
import { judgeClose, type LinkClose, type WorkerRefused } from "./refusal.ts";

export type Hello = z.infer<typeof helloFrame>;
export type Registered = z.infer<typeof registeredFrame>;

/** The state of a worker's connection. `failures` counts the connections in a row that did not register. */
export type Session =
  | { phase: "waiting"; failures: number }
  | { phase: "dialing"; failures: number }
  /** The socket is open; `hello` has not arrived yet. */
  | { phase: "greeting"; failures: number }
  | { phase: "registering"; failures: number; hello: Hello }
  | { phase: "registered"; hello: Hello }
  /** The worker is done; its close is under way. */
  | { phase: "leaving" }
  | { phase: "ended" };

/** An event that may change the session. */
export type WakeReason =
  | { type: "started" }
  | { type: "retry_due" }
  | { type: "opened" }
  | { type: "hello"; hello: Hello }
  | { type: "registered"; registered: Registered }
  /** The connection is unusable: the edge is silent, or speaks another protocol. */
  | { type: "unfit"; why: string }
  | { type: "closed"; close: LinkClose }
  /** The worker has nothing left to do and leaves. */
  | { type: "left" };

export type SessionEffect =
  | { type: "dial" }
  | { type: "register"; hello: Hello }
  | { type: "resume"; hello: Hello; registered: Registered }
  /** Drop the connection without a closing handshake; `closed` follows. */
  | { type: "cut"; why: string }
  | { type: "hang_up"; code: number }
  | { type: "retry_in"; ms: number; why: string }
  | { type: "end"; refusal: WorkerRefused | null };

export interface Step {
  session: Session;
  effects: SessionEffect[];
}

/** Smaller frames could not even carry the report of a failure. */
const LEAST_FRAME_BYTES = 1_024;

/** Checks that the edge's protocol and frame limit are usable. */
export function judgeHello(hello: Hello): WakeReason {
  if (hello.protocol !== WORKER_PROTOCOL) {
    return { type: "unfit", why: `the edge speaks ${hello.protocol}, not ${WORKER_PROTOCOL}` };
  }
  if (hello.max_frame_bytes < LEAST_FRAME_BYTES) {
    return { type: "unfit", why: `the edge takes frames of ${hello.max_frame_bytes} bytes only` };
  }
  return { type: "hello", hello };
}

/** Decides what a reason means for the connection: returns the new state and the effects to perform. */
export function step(
  session: Session,
  reason: WakeReason,
  random: number,
  backoff?: Backoff,
): Step {
  switch (reason.type) {
    case "closed":
      return afterClose(session, reason.close, random, backoff);
    case "left":
      return afterLeave(session);
    case "unfit":
      return isConnected(session)
        ? { session, effects: [{ type: "cut", why: reason.why }] }
        : unchanged(session);
    default:
      return advance(session, reason);
  }
}

/** Moves one phase closer to `registered`; a reason that doesn't fit the phase changes nothing. */
function advance(
  session: Session,
  reason: Exclude<WakeReason, { type: "closed" | "left" | "unfit" }>,
): Step {
  switch (reason.type) {
    case "started":
    case "retry_due":
      if (session.phase !== "waiting") return unchanged(session);
      return { session: { ...session, phase: "dialing" }, effects: [{ type: "dial" }] };
    case "opened":
      if (session.phase !== "dialing") return unchanged(session);
      return { session: { ...session, phase: "greeting" }, effects: [] };
    case "hello": {
      if (session.phase !== "greeting") return unchanged(session);
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

function afterClose(session: Session, close: LinkClose, random: number, backoff?: Backoff): Step {
  if (session.phase === "ended") return unchanged(session);
  if (session.phase === "leaving") return end(null);
  const verdict = judgeClose(close);
  if (verdict.type === "refused") return end(verdict.refusal);
  const failures = "failures" in session ? session.failures : 0;
  return {
    session: { phase: "waiting", failures: failures + 1 },
    effects: [{ type: "retry_in", ms: backoffMs(failures, random, backoff), why: verdict.why }],
  };
}

function afterLeave(session: Session): Step {
  switch (session.phase) {
    case "waiting":
      return end(null);
    case "leaving":
    case "ended":
      return unchanged(session);
    case "dialing":
      return { session: { phase: "leaving" }, effects: [{ type: "cut", why: "leaving" }] };
    default:
      return {
        session: { phase: "leaving" },
        effects: [{ type: "hang_up", code: CLOSE.done.code }],
      };
  }
}

function end(refusal: WorkerRefused | null): Step {
  return { session: { phase: "ended" }, effects: [{ type: "end", refusal }] };
}

function unchanged(session: Session): Step {
  return { session, effects: [] };
}

function isConnected(session: Session): boolean {
  return session.phase !== "waiting" && session.phase !== "ended";
}
