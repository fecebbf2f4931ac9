/** Checks for the programs that the tests need; on Debian, as root, installs the missing ones. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const NEEDED = [
  { package: "chromium", file: CHROMIUM, why: "the browser tests; name yours in CHROMIUM" },
  { package: "curl", file: "/usr/bin/curl", why: "the tests of clients" },
  { package: "nginx-light", file: "/usr/sbin/nginx", why: "the tests behind a proxy" },
  { package: "openssl", file: "/usr/bin/openssl", why: "the tests behind a proxy" },
  {
    package: "python3-websockets",
    file: "/usr/lib/python3/dist-packages/websockets",
    why: "the tests of clients",
  },
  {
    package: "python3-venv",
    file: "/usr/share/python-wheels",
    why: "the tests of the Python package",
  },
];

const missing = NEEDED.filter(({ file }) => !existsSync(file));
if (missing.length > 0) {
  const debian = existsSync("/usr/bin/apt-get") && process.getuid?.() === 0;
  if (!debian) {
    for (const { package: name, file, why } of missing) {
      console.error(`${name} is needed at ${file} for ${why}.`);
    }
    process.exit(1);
  }
  const names = missing.map((needed) => needed.package);
  console.log(`Installing ${names.join(", ")} for the tests …`);
  apt("update", "-qq");
  apt("install", "-y", "-qq", ...names);
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const run = spawnSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] });
  if (run.status !== 0) {
    console.error(`apt-get ${args.join(" ")} failed.`);
    process.exit(1);
  }
}
