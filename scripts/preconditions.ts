/** Checks of the conditions for starting the edge. A check that fails ends the program and says what to do. */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { HOST, PORT, STATE_FOLDER } from "./local.ts";

const PORT_FREE_WITHIN_MS = 2_000;
const POLL_MS = 200;

/** Waits a little first: a port that was just closed may need a moment. */
export async function requireFreePort(): Promise<void> {
  const giveUpAt = performance.now() + PORT_FREE_WITHIN_MS;
  for (;;) {
    const problem = await problemOfPort();
    if (problem === null) return;
    if (performance.now() >= giveUpAt) fail(problem);
    await sleep(POLL_MS);
  }
}

/** Why the edge can't listen; `null` if it can. */
function problemOfPort(): Promise<string | null> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(describe(error)));
    probe.listen(PORT, HOST, () => probe.close(() => resolve(null)));
  });
}

function describe({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case "EADDRINUSE":
      return `Port ${PORT} is in use. End what uses it, or choose another: PORT=8788 npm start`;
    case "EACCES":
      return `You may not use port ${PORT}. Choose one from 1024 on: PORT=8787 npm start`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `HOST=${HOST} is not an address of this machine. For all of its addresses: HOST=0.0.0.0 npm start`;
    default:
      return `The edge can't listen on port ${PORT} of ${HOST}: ${message}`;
  }
}

/** Makes the folder of the edge's data if it is missing, and holds it: two edges would spoil each other's data. */
export async function requireStateFolder(): Promise<void> {
  requireUsable(() => makeFolder(STATE_FOLDER));
  for (const folder of dataFolders()) requireUsable(() => requireWritable(folder));
  // A socket ends with the process that listens on it, even after a kill -9, while a file with a pid would stay.
  const path = join(STATE_FOLDER, "in-use");
  if (await answers(path)) {
    fail(
      `Another edge uses the data in ${STATE_FOLDER}. End it, or choose another folder: ` +
        "DIALOUT_STATE=/path/to/folder npm start",
    );
  }
  requireUsable(() => rmSync(path, { force: true }));
  // Where the path is too long for a socket, the folder is not held.
  const holder = createServer((socket) => socket.end()).on("error", () => undefined);
  holder.listen(path).unref();
}

function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}

/** The folders of the edge's data that exist: one that was once used by another user may have those of theirs. */
function dataFolders(): string[] {
  const data = join(STATE_FOLDER, "v3");
  if (!existsSync(data)) return [STATE_FOLDER];
  const isFolder = statSync(data).isDirectory();
  return [
    STATE_FOLDER,
    data,
    ...(isFolder ? readdirSync(data).map((name) => join(data, name)) : []),
  ];
}

function requireWritable(folder: string): void {
  if (!statSync(folder).isDirectory()) throw new Error(`${folder} is a file`);
  accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
}

/** Ends the program with what is wrong with the folder of the data, if `check` throws that. */
function requireUsable(check: () => void): void {
  try {
    check();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    fail(
      `The folder for the data can't be used: ${why}\n` +
        "Give this user the right to write there, or choose another: DIALOUT_STATE=/path/to/folder npm start",
    );
  }
}

/** Makes a folder and those above it. In `/proc` the `recursive` of Node.js itself would try for ever. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  mkdirSync(path);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
