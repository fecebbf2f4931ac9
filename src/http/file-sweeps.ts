import type { Env } from "../env.ts";
import { FILE_SWEEP_NAME } from "../file-sweep/file-sweep.ts";

/** The edges of this isolate whose sweeps of files are known to go on. */
const swept = new WeakSet<Env>();

/** Makes sure, before the first file is stored, that files which get no job are removed one day (decision 0045). */
export async function beginSweeps(env: Env): Promise<void> {
  if (swept.has(env)) return;
  try {
    await env.FILE_SWEEP.getByName(FILE_SWEEP_NAME).begin();
    swept.add(env);
  } catch (error) {
    console.error("the sweeps of files could not be begun", error);
  }
}
