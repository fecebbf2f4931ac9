import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuildOptions, Plugin } from "esbuild";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const DIST = join(ROOT, "dist");

export const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  write: false,
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
} satisfies BuildOptions;

/**
 * Lets the bundler drop the unused parts of zod. It can do so for `import * as z`, but not for
 * `import { z }`: without this, every page would contain all of zod, its translations included.
 */
export const shakeZod: Plugin = {
  name: "shake-zod",
  setup(pluginBuild) {
    pluginBuild.onLoad(
      { filter: /[\\/]src[\\/].*\.tsx?$/, namespace: "file" },
      async ({ path }) => {
        if (!path.startsWith(join(ROOT, "src"))) return null;
        const source = await readFile(path, "utf8");
        const contents = source.replace('import { z } from "zod";', 'import * as z from "zod";');
        return { contents, loader: path.endsWith("x") ? "tsx" : "ts" };
      },
    );
  },
};

/** Writes a changed file atomically: a server may read it, or another build write it, meanwhile. */
export async function writeChanged(path: string, contents: Uint8Array): Promise<void> {
  if (await writeQuietly(path, contents)) console.log(`built ${relative(ROOT, path)}`);
}

/** Like `writeChanged`, without a message; returns `false` if the file had these contents already. */
export async function writeQuietly(path: string, contents: Uint8Array): Promise<boolean> {
  const present = await readFile(path).catch(() => null);
  if (present?.equals(contents)) return false;
  await mkdir(dirname(path), { recursive: true });
  // Two files of the same name may be written at once, by one build or by two.
  const partial = join(DIST, `.${basename(path)}.${randomUUID()}.partial`);
  await writeFile(partial, contents);
  await rename(partial, path);
  return true;
}

/** Removes files of earlier builds, which nothing refers to any more. */
export async function removeStale(folder: string, current: readonly string[]): Promise<void> {
  const kept = new Set(current.map((path) => relative(folder, path)));
  const present = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = present
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const stale = paths.filter((path) => !kept.has(relative(folder, path)));
  await Promise.all(stale.map((path) => rm(path, { force: true })));
}
