import type { Platform } from "../platform.ts";
import type { JobFile } from "../submitted-file.ts";
import { openPageContent, pageFile } from "./page-file.ts";
import { PageSocket } from "./page-socket.ts";
import type { PageTimers } from "./page-timers.ts";

/** A worker in a page. */
export function pagePlatform(timers: PageTimers): Platform {
  return {
    open: (target, events) => new PageSocket(target, events),
    every: (ms, run) => timers.every(ms, run),
    after: (ms, run) => timers.after(ms, run),
    afterTurn: turns(),
    // Handlers in pages get the type that lacks what needs a disk.
    makeFile: (file, options) => pageFile(file, options) as JobFile,
    openContent: openPageContent,
    describeError: (error) =>
      error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error),
    endsAtDeadline: false,
  };
}

/** Messages are not slowed down in hidden tabs, as timers are. */
function turns(): (run: () => void) => void {
  const waiting: (() => void)[] = [];
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()?.();
  return (run) => {
    waiting.push(run);
    port2.postMessage(0);
  };
}
