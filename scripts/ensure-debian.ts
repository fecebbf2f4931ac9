/** The browser tests drive Chromium; on Debian, as root, a missing one is installed. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

if (import.meta.main && !existsSync(CHROMIUM)) {
  const debian = existsSync("/usr/bin/apt-get") && process.getuid?.() === 0;
  if (!debian) {
    console.error(
      `The browser tests need Chromium at ${CHROMIUM}: install it, or name yours in CHROMIUM.`,
    );
    process.exit(1);
  }
  console.log("Installing Chromium for the browser tests …");
  apt("update", "-qq");
  apt("install", "-y", "-qq", "chromium");
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const run = spawnSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] });
  if (run.status !== 0) {
    console.error(`apt-get ${args.join(" ")} failed.`);
    process.exit(1);
  }
}
