import { JobFailure } from "../failure.ts";

/** Loads packages that only the demo needs; if they are missing, the job fails with what to install. */
export async function loadOptional<T>(packages: string[], load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw error;
    const names = packages.join(" ");
    throw new JobFailure(
      "worker_error",
      `The demo worker lacks a package. On its machine run: npm install ${names}`,
    );
  }
}
