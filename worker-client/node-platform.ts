import { inspect } from "node:util";
import { jobFile } from "./job-files.ts";
import { openContent } from "./node-content.ts";
import { NodeSocket } from "./node-socket.ts";
import type { Platform } from "./platform.ts";

/** A worker in Node.js. */
export const NODE: Platform = {
  open: (target, events) => new NodeSocket(target, events),
  every(ms, run) {
    const timer = setInterval(run, ms);
    return () => clearInterval(timer);
  },
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  afterTurn: (run) => void setImmediate(run),
  makeFile: jobFile,
  openContent,
  describeError: (error) => inspect(error),
  endsAtDeadline: true,
};
