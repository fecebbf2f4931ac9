import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { join } from "node:path";

/**
 * Says why a program can't be started, before the first job comes; `null` if it seems that it can be. On Windows
 * it isn't checked: there the names of programs are completed in several ways.
 *
 * @param path the folders to search, as in the variable PATH
 */
export function whyNotRunnable(program: string, path: string): string | null {
  if (program === "") return "its name is empty";
  if (process.platform === "win32") return null;
  if (program.includes("/")) return whyNotRunnableAt(program);
  let first: string | undefined;
  for (const folder of path.split(":")) {
    const file = join(folder === "" ? "." : folder, program);
    const why = statOf(file) === null ? undefined : whyNotRunnableAt(file);
    if (why === null) return null;
    first ??= why;
  }
  return first ?? `it is in no folder of PATH${hintFor(program)}`;
}

function whyNotRunnableAt(file: string): string | null {
  const stats = statOf(file);
  if (stats === null) return `there is no file ${file}`;
  if (stats.isDirectory()) return `${file} is a directory`;
  if (!stats.isFile()) return `${file} is not a file`;
  try {
    accessSync(file, constants.X_OK);
  } catch {
    return `${file} is not executable (chmod +x makes it so)`;
  }
  const interpreter = interpreterOf(file);
  if (interpreter === null || statOf(interpreter)?.isFile()) return null;
  return `its first line names ${JSON.stringify(interpreter)}, and there is no such file`;
}

/** The program that a script's first line names, as in `#!/bin/sh`; `null` if there is none, or it can't be read. */
function interpreterOf(file: string): string | null {
  try {
    const descriptor = openSync(file, "r");
    const start = Buffer.alloc(256);
    readSync(descriptor, start);
    closeSync(descriptor);
    return /^#![ \t]*(\/[^ \t\n\0]*)/.exec(start.toString("latin1"))?.[1] ?? null;
  } catch {
    return null;
  }
}

function hintFor(program: string): string {
  if (/\s/.test(program)) {
    return "; give the program and each argument separately, or run it as: sh -c '…'";
  }
  return statOf(program)?.isFile() ? `; the file in this directory is ./${program}` : "";
}

function statOf(file: string): Stats | null {
  try {
    return statSync(file);
  } catch {
    return null;
  }
}
