/** Starts a server as a child process, which ends with this program's process group. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { answerCalls } from "./child.ts";
import { memoryOfStarted } from "./memory.ts";

export interface ServerCommand {
  command: string;
  /** `{port}` in an argument is replaced by the port to listen on. */
  args: string[];
  folder: string;
}

const POLL_MS = 20;

const calls = {
  /** Resolves with the port once the server takes connections. */
  async start({ command, args, folder }: ServerCommand): Promise<number> {
    const port = await freePort();
    const filled = args.map((arg) => arg.replace("{port}", String(port)));
    const child = spawn(command, filled, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
    child.once("exit", (code) => {
      throw new Error(`${command} ended with ${code}`);
    });
    while (!(await takesConnections(port))) await sleep(POLL_MS);
    return port;
  },
  memory: (): number => memoryOfStarted(),
};
export type ServerCalls = typeof calls;

answerCalls(calls);

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}

function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return new Promise((resolve) => {
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
