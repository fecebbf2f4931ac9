import type { DialoutError } from "./errors.ts";

/**
 * The state of a call whose answer has not arrived.
 *
 * - `sending`: the request is under way.
 * - `waiting`: an attempt failed with `error`; the next one begins at `retryAt`, or when the machine is online
 *   again.
 *
 * `attempt` counts from 1. `since` is when the call began, `retryAt` when it is sent again; both are
 * milliseconds since 1970.
 */
export type Sending =
  | { state: "sending"; attempt: number; since: number }
  | { state: "waiting"; attempt: number; since: number; error: DialoutError; retryAt: number };

export interface SendOptions {
  /** Ends the call, which then rejects with the signal's reason. What was sent already may have arrived. */
  signal?: AbortSignal;
  /** How long to go on trying, milliseconds; `Infinity` for as long as it takes. */
  timeout?: number;
  /** Called at once, and again before each repeat and each wait for it. */
  onSending?(sending: Sending): void;
}
