/**
 * Runs a script that must not outlive who started this: when the pipe at standard input closes,
 * however its other end came to its end, the whole process group is killed. Start it detached, so
 * that the group is its own; signals to the group reach the script, which is waited for.
 */
import { spawn } from "node:child_process";
import process from "node:process";

const child = spawn(process.execPath, process.argv.slice(2), {
  stdio: ["ignore", "inherit", "inherit"],
});
child.once("exit", (code) => process.exit(code ?? 1));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.stdin.resume().once("close", () => process.kill(-process.pid, "SIGKILL"));
