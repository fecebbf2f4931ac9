import { join } from "node:path";
import { onTestFinished } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { Program } from "../support/program.ts";
import { PYTHON, PYTHON_ENV } from "../support/python-package.ts";

export const PYTHON_WORKER = join(ROOT, "docs/examples/worker.py");
const WITH_MODELS = join(import.meta.dirname, "models.py");

/** Starts the Python worker of docs/protocol.md with the models of `models.py`; it is killed when the test ends. */
export function launchPythonWorker(
  edge: { url: string; space: string; token: string },
  { script = WITH_MODELS, args = [] as string[], env = {} } = {},
): Program {
  const settings = {
    DIALOUT_URL: edge.url,
    DIALOUT_SPACE: edge.space,
    DIALOUT_TOKEN: edge.token,
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const [first = script, ...rest] = [...args, script];
  const worker = new Program(first, rest, { ...settings, ...env }, PYTHON);
  onTestFinished(async () => {
    await worker.stop("SIGKILL");
  });
  return worker;
}

/** Starts `dialout serve` of the Python package with a model of a file; it is killed when the test ends. */
export function launchPythonModel(
  edge: { url: string; space: string; token: string },
  target: string,
  args: string[] = [],
): Program {
  const common = ["--url", edge.url, "--space", edge.space, ...args];
  const env = { ...PYTHON_ENV, DIALOUT_TOKEN: edge.token };
  const worker = new Program("-m", ["dialout", "serve", target, ...common], env, PYTHON);
  onTestFinished(async () => {
    await worker.stop("SIGKILL");
  });
  return worker;
}
