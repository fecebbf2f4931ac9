/**
 * Builds what is served or run as it is: the pages into dist/web, the remote worker's program into
 * dist/worker-client. A file is written only where it changed, so that no watcher is woken twice.
 */
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type OutputFile, type Plugin } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const DIST = join(ROOT, "dist");
const WEB = join(DIST, "web");
const STATIC = join(WEB, "static");

/** A page is its script; template and style sheet are the same for all. */
const PAGES = [
  { name: "space", script: "src/web/space-page.tsx" },
  { name: "home", script: "src/web/home-page.tsx" },
];
const TEMPLATE = "src/web/page.html";
const STYLE = "src/web/page.css";

const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="#0b57d0"/><path d="M5 11l6-6M6 5h5v5" fill="none" stroke="#fff" stroke-width="2"/></svg>',
)}`;

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  write: false,
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
} satisfies BuildOptions;

/**
 * esbuild drops what is unused of `import * as z`, but not of `import { z }`: without this every
 * page would carry all of zod, its translations included.
 */
const shakeZod: Plugin = {
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

async function buildWeb(): Promise<void> {
  const result = await build({
    ...COMMON,
    entryPoints: [
      ...PAGES.map((page) => ({ in: page.script, out: page.name })),
      { in: STYLE, out: "page" },
    ],
    outdir: STATIC,
    entryNames: "[name]-[hash]",
    chunkNames: "shared-[hash]",
    format: "esm",
    splitting: true,
    platform: "browser",
    target: "es2022",
    minify: true,
    metafile: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    plugins: [shakeZod],
  });
  const made = new Map<string, string>();
  for (const [path, output] of Object.entries(result.metafile.outputs)) {
    if (output.entryPoint !== undefined) made.set(output.entryPoint, `/static/${basename(path)}`);
  }
  for (const file of result.outputFiles) await writeChanged(file.path, file.contents);
  for (const page of PAGES) await writePage(page, made);
  await removeStale(result.outputFiles);
}

/** The template names what it loads by `{{place}}`: the policy allows no inline script or style. */
async function writePage(page: (typeof PAGES)[number], made: Map<string, string>): Promise<void> {
  const template = await readFile(join(ROOT, TEMPLATE), "utf8");
  const places = { icon: ICON, style: made.get(STYLE), script: made.get(page.script) };
  const html = template.replace(/\{\{(\w+)\}\}/g, (_, place: string) => {
    const value = places[place as keyof typeof places];
    if (value === undefined) throw new Error(`${TEMPLATE}: nothing to put at {{${place}}}`);
    return value;
  });
  await writeChanged(join(WEB, `${page.name}.html`), Buffer.from(html));
}

/** Bundles of earlier builds; nothing refers to them any more. */
async function removeStale(current: OutputFile[]): Promise<void> {
  const names = new Set(current.map((file) => basename(file.path)));
  const stale = (await readdir(STATIC)).filter((name) => !names.has(name));
  await Promise.all(stale.map((name) => rm(join(STATIC, name), { force: true, recursive: true })));
}

async function buildWorkerClient(): Promise<void> {
  const outfile = join(DIST, "worker-client/cli.js");
  const result = await build({
    ...COMMON,
    entryPoints: ["./worker-client/cli.ts"],
    outfile,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
  });
  for (const file of result.outputFiles) await writeChanged(file.path, file.contents);
  if (((await stat(outfile)).mode & 0o777) !== 0o755) await chmod(outfile, 0o755);
}

/** Whole or not at all: a server may read the file, or another build write it, at the same time. */
async function writeChanged(path: string, contents: Uint8Array): Promise<void> {
  const present = await readFile(path).catch(() => null);
  if (present?.equals(contents)) return;
  await mkdir(dirname(path), { recursive: true });
  const partial = join(DIST, `.${basename(path)}.${process.pid}.partial`);
  await writeFile(partial, contents);
  await rename(partial, path);
  console.log(`built ${relative(ROOT, path)}`);
}

const parts = { "the pages": buildWeb, "the remote worker": buildWorkerClient };
// One part that fails must not keep the other from being built.
for (const [name, buildPart] of Object.entries(parts)) {
  try {
    await buildPart();
  } catch (error) {
    const said = error instanceof Error && "errors" in error; // esbuild prints its own.
    console.error(`Building ${name} failed${said ? "." : `: ${error}`}`);
    process.exitCode = 1;
  }
}
