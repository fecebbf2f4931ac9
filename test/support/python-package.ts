import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../../scripts/local.ts";

/** To run the tests with another Python, such as one that has a newer `websockets`. */
export const PYTHON = process.env.PYTHON ?? "/usr/bin/python3";

/** The package as it is in the tree. */
export const PYTHON_PACKAGE = join(ROOT, "worker-client/python");

/** Lets Python find the package without installing it. */
export const PYTHON_ENV = {
  PYTHONPATH: join(PYTHON_PACKAGE, "src"),
  PYTHONDONTWRITEBYTECODE: "1",
  NO_COLOR: "1",
};
