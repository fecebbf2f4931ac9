import { performance } from "node:perf_hooks";
import process from "node:process";

/** `performance.now` starts with each program, but `hrtime` counts from the same instant in all. */
const STARTED_AT = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds on a clock that every program of this machine shares. */
export function sharedNow(): number {
  return STARTED_AT + performance.now();
}
