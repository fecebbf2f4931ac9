import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { link, mkdir, rename, rm } from "node:fs/promises";
import { join, parse } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { OutputFile } from "../src/client/index.ts";
import { UsageError } from "./explain.ts";
import type { Screen } from "./screen.ts";
import { oneLine } from "./terminal-text.ts";

/**
 * Makes the folder if there is none, before a job is submitted whose files are to go there.
 *
 * @throws {UsageError} if it can't be made
 */
export async function prepareFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error) => {
    throw new UsageError(`--save ${folder}: ${error.message}`, "name a folder that can be written");
  });
}

/** Saves the output files of a job that has ended. Returns whether all of them are saved. */
export async function saveOutputs(
  outputs: readonly OutputFile[],
  folder: string,
  screen: Screen,
): Promise<boolean> {
  if (outputs.length === 0) screen.note("the job has no output files");
  let isComplete = true;
  for (const file of outputs) {
    try {
      const path = await saveFile(file, folder);
      screen.note(`saved ${path} (${file.size} bytes)`);
    } catch (error) {
      isComplete = false;
      const why = error instanceof Error ? error.message : String(error);
      screen.error(`${oneLine(file.name)} could not be saved: ${why}`);
    }
  }
  return isComplete;
}

/** Returns where the file is. Nothing that is in the folder already is replaced. */
async function saveFile(file: OutputFile, folder: string): Promise<string> {
  // The address is signed: it needs no key.
  const response = await fetch(file.url);
  if (!response.ok || response.body === null) throw new Error(`the status is ${response.status}`);
  const partial = join(folder, `.dialout-${randomUUID()}.part`);
  const hash = createHash("sha256");
  try {
    const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
    body.on("data", (piece) => hash.update(piece));
    await pipeline(body, createWriteStream(partial, { flags: "wx" }));
    const digest = hash.digest("hex");
    if (file.sha256 !== digest) throw new Error("it did not arrive whole");
    return await place(partial, folder, file.name);
  } finally {
    await rm(partial, { force: true });
  }
}

/** Gives the file its name, or that name with a number if there is such a file. */
async function place(partial: string, folder: string, name: string): Promise<string> {
  const { name: stem, ext } = parse(safeName(name));
  for (let number = 1; number <= MOST_OF_A_NAME; number += 1) {
    const path = join(folder, number === 1 ? stem + ext : `${stem}-${number}${ext}`);
    // A link fails if there is such a file; a file system without links has the name checked and replaced.
    const linked = await link(partial, path).then(
      () => true,
      (error: NodeJS.ErrnoException) => (error.code === "EEXIST" ? false : null),
    );
    if (linked === true) return path;
    if (linked === null) {
      await rename(partial, path);
      return path;
    }
  }
  throw new Error(`there are ${MOST_OF_A_NAME} files of this name in ${folder}`);
}

const MOST_OF_A_NAME = 1_000;

/** The name comes from a worker: it must be no path, no hidden file, and nothing that a terminal obeys. */
function safeName(name: string): string {
  const plain = oneLine(name, 200)
    .replace(/[/\\:*?"<>|]/g, "_")
    .replace(/^\.+/, "");
  return plain === "" ? "file" : plain;
}
