import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** Copies what git knows or would add, so that faults are never planted in the files you work on. */
export function copyTree(root: string): string {
  const copy = mkdtempSync(path.join(os.tmpdir(), "dialout-mutation-"));
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const file of listed.split("\n").filter((name) => name !== "")) {
    cpSync(path.join(root, file), path.join(copy, file), { recursive: true, force: true });
  }
  symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"));
  return copy;
}

export function removeTree(copy: string): void {
  rmSync(copy, { recursive: true, force: true });
}
