import { performance } from "node:perf_hooks";
import process from "node:process";

/** Programs start at different times; what hrtime counts from is the same for all of a machine. */
const STARTED_AT = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds on a clock that every program of this machine shares. */
export function sharedNow(): number {
  return STARTED_AT + performance.now();
}
