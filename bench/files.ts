import { execFileSync } from "node:child_process";

/**
 * Returns how many files a process may have open. It is the hard limit: Node raises its own limit to
 * that at its start, and its child processes inherit it.
 */
export function mostOpenFiles(): number {
  const limit = execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).trim();
  return limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit);
}
