import { execFileSync } from "node:child_process";

/**
 * How many files a process may have open: Node brings its own limit up to the highest it may have, also
 * for what it starts.
 */
export function mostOpenFiles(): number {
  const limit = execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).trim();
  return limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit);
}
