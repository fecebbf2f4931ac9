import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";

/** Runs `npm run edge`'s program, which is expected to end at once; returns its exit code and what it printed. */
async function refusal(settings: Record<string, string>, ...args: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "dialout-state-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const env = { PORT: String(await freePort()), DIALOUT_STATE: folder, ...settings };
  const program = new Program(join(ROOT, "scripts/start.ts"), ["--no-worker", ...args], env);
  onTestFinished(() => program.killAll());
  const code = await program.exited;
  return { code, printed: program.printed };
}

/** Puts an empty file into the folder of the data, with the folders above it. */
async function put(folder: string, path: string): Promise<void> {
  const file = join(folder, "state", path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, "");
}

describe("npm run edge ends with words, and not with a stack,", () => {
  test.each([
    [
      { PUBLIC_URL: "https://host.example/dialout" },
      2,
      "PUBLIC_URL must be an address without a path",
    ],
    [{ PUBLIC_URL: "dialout.example" }, 2, "PUBLIC_URL must be an address"],
    [{ TRUSTED_PROXIES: "nginx" }, 2, "TRUSTED_PROXIES must be addresses or ranges"],
    [{ GATEWAYS: "many" }, 2, "GATEWAYS must be a number"],
    [{ PORT: "http" }, 2, "PORT must be a port number"],
    [{ HOST: "203.0.113.7" }, 1, "HOST=203.0.113.7 is not an address of this machine"],
    [{ HOST: "no-such-host.invalid" }, 1, "is not an address of this machine"],
    [{ DIALOUT_STATE: "/dev/null/state" }, 1, "The folder for the data can't be used"],
    [{ DIALOUT_STATE: "/proc/x" }, 1, "The folder for the data can't be used"],
  ])("if %j is wrong", async (settings, code, words) => {
    const ended = await refusal(settings as Record<string, string>);
    expect(ended.printed).toContain(words);
    expect(ended.printed).not.toMatch(/^ +at /m);
    expect(ended.code).toBe(code);
  });

  test("if it does not know an option", async () => {
    const ended = await refusal({}, "--port", "9000");
    expect(ended).toMatchObject({ code: 2 });
    expect(ended.printed).toContain("There is no option --port.");
    expect(ended.printed).toContain("PORT=8787");
  });

  test.each([
    ["is a file", (folder: string) => writeFile(join(folder, "state"), "")],
    ["has a file where its data would be", (folder: string) => put(folder, "v3")],
    ["has a file in place of a database", (folder: string) => put(folder, "v3/d1")],
    ["has a folder where it is held", (folder: string) => put(folder, "in-use/x")],
  ])("if its folder %s", async (_, spoil) => {
    const folder = await mkdtemp(join(tmpdir(), "dialout-state-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await spoil(folder);
    const ended = await refusal({ DIALOUT_STATE: join(folder, "state") });
    expect(ended.printed).toContain("The folder for the data can't be used");
    expect(ended.printed).not.toMatch(/^ +at /m);
    expect(ended.code).toBe(1);
  });

  test("if another edge uses its folder", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dialout-state-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const holder = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => holder.listen(join(folder, "in-use"), resolve));
    onTestFinished(() => void holder.close());
    const ended = await refusal({ DIALOUT_STATE: folder });
    expect(ended.code).toBe(1);
    expect(ended.printed).toContain(`Another edge uses the data in ${folder}`);
  });
});

/** A module that makes Node.js take itself for an older one. */
const OLD_NODE = `data:text/javascript,${encodeURIComponent(
  'Object.defineProperty(process,"versions",{value:{...process.versions,node:"18.20.8"}})',
)}`;

async function runOld(script: string, ...args: string[]) {
  const program = new Program("--import", [OLD_NODE, join(ROOT, script), ...args]);
  return { code: await program.exited, printed: program.printed };
}

describe("an old Node.js", () => {
  test("is told which one the programs of this repository need", async () => {
    const ended = await runOld("scripts/run.mjs", join(ROOT, "scripts/start.ts"));
    expect(ended.code).toBe(1);
    expect(ended.printed).toMatch(
      /^This needs Node\.js 22\.18 or newer, and this is v18\.20\.8: .*npm start/,
    );
  });

  test("is told which one the worker needs", async () => {
    expect(await runOld("worker-client/cli.ts", "--version")).toEqual({
      code: 2,
      printed: "dialout-worker needs Node.js 20 or newer, and this is v18.20.8.\n",
    });
  });
});
