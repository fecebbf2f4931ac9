import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../scripts/local.ts";

/** What the numbers were measured on, without which they mean nothing. */
export interface MachineInfo {
  cpu: string;
  cores: number;
  memory_gb: number;
  system: string;
  /** Load average of the minute before the run; above 0.5 something else is using the machine. */
  load_before: number;
  versions: Record<string, string>;
  commit: string;
}

export function describeMachine(): MachineInfo {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    load_before: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    versions: {
      node: process.version,
      workerd: packageVersion(ROOT, "workerd"),
      hono: packageVersion(ROOT, "hono"),
      bullmq: packageVersion(import.meta.dirname, "bullmq"),
      redis: printedVersion("/usr/bin/redis-server", "--version", /v=(\S+)/),
      partyserver: packageVersion(import.meta.dirname, "partyserver"),
      socketio: packageVersion(import.meta.dirname, "socket.io"),
      python_socketio: printedVersion("dpkg-query", "-W", /^python3-socketio\s+(\S+)$/m),
      uvicorn: printedVersion("dpkg-query", "-W", /^python3-uvicorn\s+(\S+)$/m),
      flask_socketio: printedVersion("dpkg-query", "-W", /^python3-flask-socketio\s+(\S+)$/m),
    },
    commit: printedVersion("git", `--git-dir=${join(ROOT, ".git")} log -1 --format=%h`, /(\w+)/),
  };
}

function packageVersion(folder: string, name: string): string {
  try {
    const text = readFileSync(join(folder, "node_modules", name, "package.json"), "utf8");
    return (JSON.parse(text) as { version: string }).version;
  } catch {
    return "missing";
  }
}

function printedVersion(command: string, args: string, wanted: RegExp): string {
  try {
    const text = execFileSync(command, args.split(" "), { encoding: "utf8", stdio: "pipe" });
    return wanted.exec(text)?.[1] ?? "unknown";
  } catch {
    return "missing";
  }
}
