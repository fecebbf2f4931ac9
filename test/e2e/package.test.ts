/// <reference lib="dom" />
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";
import { watchPageErrors } from "./chromium.ts";
import { EdgeClient } from "./client.ts";

const FIXTURE = join(ROOT, "test/support/vite-app");
/** The packages of a new app with React and TypeScript, in the versions that this project uses. */
const APP_PACKAGES = [
  "vite",
  "react",
  "react-dom",
  "@types/react",
  "@types/react-dom",
  "@types/node",
  "lossless-json",
];
const MOST_PACKED_BYTES = 300_000;
const MOST_BUNDLED_BYTES = 400_000;

const edge = new EdgeClient(inject("edgeUrl"));
const run = promisify(execFile);
let folder: string;
let app: string;
let browser: Browser;
let printed: string;
let packed: { filename: string; size: number; files: { path: string }[] };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dialout-package-"));
  app = join(folder, "app");
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: ROOT,
  });
  [packed] = JSON.parse(stdout.slice(stdout.indexOf("[\n")));
  await cp(FIXTURE, app, { recursive: true });
  const { devDependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const versions = APP_PACKAGES.map((name) => [name, devDependencies[name]]);
  const dependencies = { ...Object.fromEntries(versions), dialout: `file:../${packed.filename}` };
  const about = { name: "app", private: true, type: "module", dependencies };
  await writeFile(join(app, "package.json"), JSON.stringify(about));
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
  const { stderr } = await run("npm", install, { cwd: app });
  printed = stderr;
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  });
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a script in the app's folder and returns what it printed. */
async function inApp(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [script, ...args], { cwd: app, env: ENV }).catch(
    (error) => {
      throw new Error(`${error.stdout}${error.stderr}`);
    },
  );
  return stdout;
}

/** Vitest sets another `NODE_ENV`, with which React would be bundled in its development build. */
const ENV = { ...process.env, NODE_ENV: "production" };
const VITE = "node_modules/vite/bin/vite.js";
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");

describe("the package as npm packs it", () => {
  it("is small and contains the built files and nothing else", () => {
    const paths = packed.files.map(({ path }) => path);
    expect(packed.size).toBeLessThan(MOST_PACKED_BYTES);
    expect(paths).toContain("dist/client/index.js");
    expect(paths).toContain("dist/worker-client/cli.js");
    expect(paths).toContain("dist/worker-client/browser/index.js");
    expect(paths).toContain("dist/terminal/cli.js");
    const ours = /^dist\/(client|terminal|types|worker-client)\//;
    const others = paths.filter((path) => !ours.test(path));
    expect(others.sort()).toEqual(["LICENSE", "README.md", "package.json"]);
  });

  it("installs no package that only the edge needs", async () => {
    const installed = await readdir(join(app, "node_modules"));
    for (const name of ["hono", "jose", "preact", "wrangler", "esbuild"]) {
      expect(installed).not.toContain(name);
    }
    for (const name of ["zod", "partysocket", "ws"]) expect(installed).toContain(name);
  });

  it("can be installed with Node.js 20 without a warning", async () => {
    expect(printed).not.toMatch(/EBADENGINE|dialout/);
    const read = async (name: string) =>
      JSON.parse(await readFile(join(app, "node_modules", name, "package.json"), "utf8"));
    const needed = ["dialout"];
    for (const name of needed) {
      const { engines = {}, dependencies = {} } = await read(name);
      const [, least = "0"] = String(engines.node ?? "").match(/^>=\s*(\d+)/) ?? [];
      expect([name, engines.node, Number(least) <= 20]).toEqual([name, engines.node, true]);
      expect(engines.node ?? ">=0").toMatch(/^>=/);
      needed.push(...Object.keys(dependencies).filter((found) => !needed.includes(found)));
    }
    const { scripts } = await read("dialout");
    for (const script of ["preinstall", "install", "postinstall", "prepare"]) {
      expect(Object.keys(scripts)).not.toContain(script);
    }
  });

  it("type-checks in an app, including its own declarations", async () => {
    await inApp(TSC, "-p", "tsconfig.json");
    await inApp(TSC, "-p", "tsconfig.backend.json");
  });

  it("compiles every example in docs/client.md", async () => {
    const text = await readFile(join(ROOT, "docs/client.md"), "utf8");
    const examples = [...text.matchAll(/^```(tsx?)\n(.*?)^```/gms)];
    expect(examples.length).toBeGreaterThan(4);
    for (const [index, [, extension, code]] of examples.entries()) {
      await writeFile(join(app, `src/example-${index}.${extension}`), `${code}\nexport {};\n`);
    }
    await inApp(TSC, "-p", "tsconfig.examples.json");
  });

  it("is loaded by Node.js without a bundler", async () => {
    const load =
      'const { broadcaster } = await import("./src/backend.ts"); console.log(typeof broadcaster.broadcastPrCreated);';
    expect(await inApp("--input-type=module", "-e", load)).toBe("function\n");
    const help = await inApp("node_modules/dialout/dist/worker-client/cli.js", "--help");
    expect(help).toContain("dialout-worker");
    const suite = await inApp("node_modules/dialout/dist/worker-client/conformance.js", "--help");
    expect(suite).toContain("dialout-conformance");
  });

  it("is run by npx in an empty folder: a worker is examined, serves, and is sent a job", async () => {
    const empty = join(folder, "empty");
    await mkdir(empty);
    const space = await edge.makeSpace();
    const env = { ...process.env, DIALOUT_URL: edge.url, DIALOUT_TOKEN: space.token };
    const tarball = join(folder, packed.filename);
    const npx = async (...args: string[]) => {
      const given = ["--yes", "--prefer-offline", "--package", tarball, "--", ...args];
      return (await run("npx", given, { cwd: empty, env })).stdout;
    };
    expect(await npx("dialout", "--version")).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await npx("dialout-worker", "doctor", "--space", space.name)).toContain("is in order");
    await edge.startWorker(space, ["exec", "--", "cat"]);
    const printed = await npx("dialout", "submit", space.name, "a cat", "--quiet");
    expect(JSON.parse(printed).input).toEqual({ prompt: "a cat" });
  });

  it("runs in a page that Vite built, served from another origin than the edge (H9)", async () => {
    await inApp(VITE, "build");
    const assets = join(app, "dist/assets");
    const [script] = (await readdir(assets)).filter((name) => name.endsWith(".js"));
    expect((await readFile(join(assets, script ?? ""))).byteLength).toBeLessThan(
      MOST_BUNDLED_BYTES,
    );
    const port = await freePort();
    const address = ["--host", "127.0.0.1", "--port", String(port), "--strictPort"];
    const preview = new Program(join(app, VITE), ["preview", app, ...address]);
    onTestFinished(() => preview.stop().then(() => undefined));
    await preview.prints(`:${port}`);
    const space = await edge.makeSpace();
    const page = await browser.newPage();
    page.setDefaultTimeout(20_000);
    onTestFinished(watchPageErrors(page));
    await page.goto(`http://127.0.0.1:${port}/?edge=${edge.url}&space=${space.name}`);
    const shown = (id: string) => page.getByTestId(id).textContent();
    await expect.poll(() => shown("worker")).toBe("disconnected");
    await page.getByTestId("submit").click();
    await expect.poll(() => shown("problem")).toBe("worker_not_connected");
    await edge.startWorker(space, ["demo"]);
    await expect.poll(() => shown("worker"), { timeout: 10_000 }).toBe("connected");
    await page.getByTestId("submit").click();
    await expect.poll(() => shown("status"), { timeout: 30_000 }).toBe("completed");
    expect(await shown("output")).not.toBe("");
    expect(await shown("result")).toContain("{");
    const answered: string[] = [];
    const other = createServer(({ url = "" }, response) => {
      answered.push(url);
      response.end("<!doctype html><title>Another server</title>");
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const { port: otherPort } = other.address() as AddressInfo;
    for (const [at, expected] of [
      [`http://127.0.0.1:${otherPort}`, "not_an_edge"],
      [`http://127.0.0.1:${await freePort()}`, "unreachable"],
      [edge.url, "closed"],
    ]) {
      await page.goto(`http://127.0.0.1:${port}/?edge=${at}&space=no-such-space`);
      await expect.poll(() => shown("connection"), { timeout: 20_000 }).toContain(expected);
    }
    expect(await shown("connection")).toContain("There is no space named");
  });
});
