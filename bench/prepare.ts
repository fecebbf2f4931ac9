import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

export const REDIS = "/usr/bin/redis-server";
export const PYTHON = "/usr/bin/python3";
/** Without gevent-websocket, Flask-SocketIO would be slower than it can be on Debian. */
export const GEVENT_WEBSOCKET = "/usr/lib/python3/dist-packages/geventwebsocket";

export const UVICORN = "/usr/lib/python3/dist-packages/uvicorn";
export const PYTHON_REDIS = "/usr/lib/python3/dist-packages/redis";

/** Debian packages that the peers need, each with a file that exists if they are installed. */
const DEBIAN = [
  { file: REDIS, packages: ["redis-server"] },
  {
    file: GEVENT_WEBSOCKET,
    packages: ["python3-flask-socketio", "python3-gevent", "python3-gevent-websocket"],
  },
  { file: PYTHON_REDIS, packages: ["python3-redis"] },
  {
    file: UVICORN,
    packages: [
      "python3-socketio",
      "python3-uvicorn",
      "python3-uvloop",
      "python3-httptools",
      "python3-websockets",
    ],
  },
];

/** Installs the peers' npm packages from the lock file in this folder. */
export function installPeers(): void {
  const text = readFileSync(join(import.meta.dirname, "package.json"), "utf8");
  const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
  if (Object.keys(dependencies).every(isInstalled)) return;
  console.log("Installing the peers' packages …");
  const args = ["ci", "--prefix", import.meta.dirname, "--no-audit", "--no-fund"];
  run("npm", args);
}

export function isInstalled(name: string): boolean {
  return existsSync(join(import.meta.dirname, "node_modules", name));
}

/** Installs missing servers on Debian as root; elsewhere the subjects that need them are left out. */
export function installServers(): void {
  const missing = DEBIAN.filter(({ file }) => !existsSync(file)).flatMap(
    ({ packages }) => packages,
  );
  if (missing.length === 0) return;
  if (!existsSync("/usr/bin/apt-get") || process.getuid?.() !== 0) return;
  console.log(`Installing ${missing.join(" and ")} …`);
  try {
    run("apt-get", ["update", "-qq"]);
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing]);
  } catch (error) {
    console.error(`${error}; its peers are skipped.`);
  }
}

function run(command: string, args: string[]): void {
  // With this RUNLEVEL Debian does not start the servers it installs.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const { status } = spawnSync(command, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`${command} ${args[0]} failed`);
}
