import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { COMMON, DIST, ROOT, removeStale, shakeZod, writeChanged, writeQuietly } from "./output.ts";

/** The modules that package.json exports; their dependencies stay imports, not bundled. */
const ENTRIES = ["index", "react", "broadcaster"];
const PROJECT = "tsconfig.package.json";

export async function buildClient(): Promise<void> {
  await buildModules();
  await buildTypes();
}

async function buildModules(): Promise<void> {
  const outdir = join(DIST, "client");
  const result = await build({
    ...COMMON,
    entryPoints: ENTRIES.map((name) => `src/client/${name}.ts`),
    outdir,
    chunkNames: "shared-[hash]",
    format: "esm",
    splitting: true,
    platform: "neutral",
    target: "es2022",
    packages: "external",
    plugins: [shakeZod],
  });
  for (const file of result.outputFiles) await writeChanged(file.path, file.contents);
  await removeStale(
    outdir,
    result.outputFiles.map(({ path }) => path),
  );
}

/** Writes all declarations, with imports that name `.js` files instead of `.ts`. */
async function buildTypes(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "dialout-types-"));
  try {
    const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
    const args = [compiler, "-p", PROJECT, "--outDir", folder];
    await promisify(execFile)(process.execPath, args, { cwd: ROOT }).catch(({ stdout }) => {
      throw new Error(`types:\n${stdout}`);
    });
    const found = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = found
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const outdir = join(DIST, "types");
    const changes = await Promise.all(
      files.map(async (path) => {
        const text = (await readFile(path, "utf8")).replace(RELATIVE_IMPORT, "$1.js$2");
        return writeQuietly(join(outdir, relative(folder, path)), Buffer.from(text));
      }),
    );
    if (changes.includes(true)) console.log(`built ${relative(ROOT, outdir)}`);
    await removeStale(
      outdir,
      files.map((path) => join(outdir, relative(folder, path))),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const RELATIVE_IMPORT = /((?:from |import\()"\.{1,2}\/[^"]+)\.ts(")/g;
