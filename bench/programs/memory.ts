import { execFileSync } from "node:child_process";
import process from "node:process";

/** Bytes in memory (RSS) of all processes that this program has started. */
export function memoryOfStarted(): number {
  const listed = execFileSync("ps", ["-A", "-o", "pid=,ppid=,rss=,comm="], { encoding: "utf8" });
  const rows = listed.split("\n").map((line) => line.trim().split(/\s+/));
  const processes = rows.filter(([, , , command]) => command !== "ps");
  const kilobytesBelow = (parent: number): number =>
    processes
      .filter(([, ppid]) => Number(ppid) === parent)
      .reduce((sum, [pid, , rss]) => sum + Number(rss) + kilobytesBelow(Number(pid)), 0);
  return kilobytesBelow(process.pid) * 1_024;
}
