import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PYTHON, PYTHON_PACKAGE } from "../support/python-package.ts";

const run = promisify(execFile);
/** Packages are fetched, and much of the rest waits. */
const PATIENT_MS = 600_000;

let folder: string;

/** Runs a program of the virtual environment, in the package's folder; throws what it printed if it fails. */
async function inVenv(program: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1", NO_COLOR: "1" };
  const options = { cwd: PYTHON_PACKAGE, env, maxBuffer: 16_777_216 };
  try {
    return (await run(join(folder, "bin", program), args, options)).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  }
}

const pip = (...args: string[]) =>
  inVenv("python", "-m", "pip", "--disable-pip-version-check", "-q", ...args);

/** How many of its own tests the package passes; every one must. */
async function passed(...files: string[]): Promise<number> {
  const options = ["-p", "no:cacheprovider", "-n", "4"];
  const printed = await inVenv("python", "-m", "pytest", ...options, ...files);
  return Number(/(\d+) passed/.exec(printed)?.[1]);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dialout-venv-"));
  await run(PYTHON, ["-m", "venv", folder]);
  await pip("wheel", "--no-deps", "-w", join(folder, "wheel"), ".");
  const wheel = (await run("ls", [join(folder, "wheel")])).stdout.trim();
  await pip("install", join(folder, "wheel", wheel));
}, PATIENT_MS);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the Python package, built and installed in a fresh environment", () => {
  it("has its command, its types, and no dependency but websockets", async () => {
    expect((await inVenv("dialout", "--version")).trim()).toBe("0.1.0");
    expect(await inVenv("python", "-m", "dialout", "serve", "--help")).toContain("--token-file");
    const freeze = await pip("freeze");
    expect(freeze.split("\n").map((line) => line.replace(/[=@ ].*/, ""))).toEqual(
      expect.arrayContaining(["dialout", "websockets"]),
    );
    expect(freeze.trim().split("\n")).toHaveLength(2);
    const typed =
      "import dialout, pathlib; print((pathlib.Path(dialout.__file__).parent / 'py.typed').is_file())";
    expect((await inVenv("python", "-c", typed)).trim()).toBe("True");
  });

  it(
    "passes ruff and mypy --strict",
    async () => {
      await pip("install", "-r", "requirements-dev.txt");
      await inVenv("ruff", "check", "--no-cache", ".");
      await inVenv("ruff", "format", "--no-cache", "--check", ".");
      const others = ["docs/examples", "test/e2e/package_models.py", "test/chaos"];
      const paths = others.map((path) => join("../..", path));
      await inVenv("ruff", "check", "--no-cache", "--isolated", ...paths);
      await inVenv("mypy", "--cache-dir", join(folder, "mypy"));
    },
    PATIENT_MS,
  );

  it(
    "passes its tests with the newest websockets",
    async () => {
      expect(await passed()).toBeGreaterThan(140);
    },
    PATIENT_MS,
  );

  it(
    "passes those that dial with the oldest websockets",
    async () => {
      await pip("install", "websockets==10.4");
      expect(await passed("tests/test_worker.py", "tests/test_doctor.py")).toBeGreaterThan(50);
    },
    PATIENT_MS,
  );
});
