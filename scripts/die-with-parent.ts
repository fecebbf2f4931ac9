/**
 * Runs a script that must not outlive the process which starts this one. When standard input closes,
 * which the end of that process does even after a kill -9, the whole process group is killed. Start it
 * with `detached`, so that it has a group of its own. A signal to the group reaches the script, and
 * this program waits until the script has ended.
 */
import { spawn } from "node:child_process";
import process from "node:process";

const child = spawn(process.execPath, process.argv.slice(2), {
  stdio: ["ignore", "inherit", "inherit"],
});
child.once("exit", (code) => process.exit(code ?? 1));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.stdin.resume().once("close", () => process.kill(-process.pid, "SIGKILL"));
