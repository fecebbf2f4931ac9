/**
 * Builds the pages into dist/web, the programs `dialout-worker` and `dialout` into dist/worker-client and
 * dist/terminal, and the client library with its types into dist/client and dist/types. Arguments name the parts to
 * build: `pages`, `programs`, `client`; without any, all are built. A file that did not change is not written, so that
 * file watchers are not triggered.
 */
import { chmod, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { buildClient } from "./build-client.ts";
import { COMMON, DIST, ROOT, removeStale, shakeZod, writeChanged } from "./output.ts";

const WEB = join(DIST, "web");
const STATIC = join(WEB, "static");

/** Pages differ in their script; they share the template and the style sheet. */
const PAGES = [
  { name: "space", script: "src/web/space-page.tsx" },
  { name: "home", script: "src/web/home-page.tsx" },
  { name: "sign-in", script: "src/web/sign-in-page.tsx" },
  { name: "new-space", script: "src/web/new-space-page.tsx" },
  { name: "space-settings", script: "src/web/space-settings-page.tsx" },
  { name: "account", script: "src/web/account-page.tsx" },
  { name: "admin", script: "src/web/admin-page.tsx" },
];
const TEMPLATE = "src/web/page.html";
const STYLE = "src/web/page.css";

const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="#0b57d0"/><path d="M5 11l6-6M6 5h5v5" fill="none" stroke="#fff" stroke-width="2"/></svg>',
)}`;

/**
 * Files under `/static/` are sent without asking the Worker, with these headers. None about caching: a missing file,
 * as during a deploy, is answered with them too.
 */
const STATIC_HEADERS = `/static/*
  Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'
  Cross-Origin-Resource-Policy: same-origin
  Referrer-Policy: same-origin
  X-Content-Type-Options: nosniff
  X-Frame-Options: DENY
`;

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
  const addresses = new Map<string, string>();
  for (const [path, output] of Object.entries(result.metafile.outputs)) {
    if (output.entryPoint !== undefined)
      addresses.set(output.entryPoint, `/static/${basename(path)}`);
  }
  for (const file of result.outputFiles) await writeChanged(file.path, file.contents);
  for (const page of PAGES) await writePage(page, addresses);
  await writeChanged(join(WEB, "_headers"), Buffer.from(STATIC_HEADERS));
  await removeStale(
    STATIC,
    result.outputFiles.map(({ path }) => path),
  );
}

/** Fills each `{{place}}` of the template. Scripts and styles are files: the CSP forbids inline ones. */
async function writePage(
  page: (typeof PAGES)[number],
  addresses: Map<string, string>,
): Promise<void> {
  const template = await readFile(join(ROOT, TEMPLATE), "utf8");
  const places = { icon: ICON, style: addresses.get(STYLE), script: addresses.get(page.script) };
  const html = template.replace(/\{\{(\w+)\}\}/g, (_, place: string) => {
    const value = places[place as keyof typeof places];
    if (value === undefined) throw new Error(`${TEMPLATE}: nothing to put at {{${place}}}`);
    return value;
  });
  await writeChanged(join(WEB, `${page.name}.html`), Buffer.from(html));
}

/** The programs for Node.js, by their folders; the command of each is its `cli.js`. */
const PROGRAMS = { "worker-client": ["cli", "program", "index"], terminal: ["cli", "program"] };

/** The files that are run as commands. */
const COMMANDS = ["terminal/cli.js", "worker-client/cli.js", "worker-client/conformance.js"];

/** Builds all programs at once, so that they share their common parts. */
async function buildPrograms(): Promise<void> {
  const modules = Object.entries(PROGRAMS).flatMap(([folder, names]) =>
    names.map((name) => `${folder}/${name}`),
  );
  const result = await build({
    ...COMMON,
    entryPoints: [
      ...modules.map((name) => ({ in: `./${name}.ts`, out: name })),
      { in: "./worker-client/conformance/cli.ts", out: "worker-client/conformance" },
      { in: "./worker-client/browser/index.ts", out: "worker-client/browser/index" },
    ],
    outdir: DIST,
    chunkNames: "worker-client/shared-[hash]",
    format: "esm",
    // So that `cli.js`, which checks the version of Node.js, loads the rest only after that.
    splitting: true,
    platform: "node",
    target: "node20",
    packages: "external",
    // For the bundlers of those who take the part for pages.
    plugins: [shakeZod],
  });
  for (const file of result.outputFiles) await writeChanged(file.path, file.contents);
  const paths = result.outputFiles.map(({ path }) => path);
  for (const folder of Object.keys(PROGRAMS)) await removeStale(join(DIST, folder), paths);
  for (const name of COMMANDS) {
    const program = join(DIST, name);
    if (((await stat(program)).mode & 0o777) !== 0o755) await chmod(program, 0o755);
  }
}

const PARTS = {
  pages: { what: "the pages", make: buildWeb },
  programs: { what: "the programs", make: buildPrograms },
  client: { what: "the client", make: buildClient },
};
const names = process.argv.slice(2);
const wanted = Object.entries(PARTS).filter(([name]) => names.length === 0 || names.includes(name));
// If one part fails, the others are still built.
for (const [, { what, make }] of wanted) {
  try {
    await make();
  } catch (error) {
    const printed = error instanceof Error && "errors" in error; // esbuild prints its own errors.
    console.error(`Building ${what} failed${printed ? "." : `: ${error}`}`);
    process.exitCode = 1;
  }
}
