import { readFileSync } from "node:fs";

const CHECK_EVERY_MS = 500;

/**
 * Calls `onEnd` when the `npx` that runs this program has ended. npx starts programs through a shell and passes its
 * signals to that alone, so the program would go on without anybody to stop it.
 */
export function whenNpxEnds(onEnd: () => void): void {
  if (process.env.npm_lifecycle_event !== "npx") return;
  const shell = process.ppid;
  const npx = parentOf(shell);
  const timer = setInterval(() => {
    if (process.ppid === shell && (npx === null || parentOf(shell) === npx)) return;
    clearInterval(timer);
    onEnd();
  }, CHECK_EVERY_MS);
  timer.unref();
}

/** Read from /proc; `null` where there is none, and for a process that has ended. */
function parentOf(pid: number): number | null {
  try {
    // The name of the program stands in parentheses, and may contain some itself.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ");
    return Number(fields?.[1]);
  } catch {
    return null;
  }
}
