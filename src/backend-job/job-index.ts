import type { Env } from "../env.ts";
import { KnownNames } from "../objects/known-names.ts";
import { shardOf } from "../objects/shard.ts";

/** How many objects share the index. If it changed, the ids that they have stored would no longer be found. */
const INDEXES = 8;

const known = new KnownNames();

type IndexBinding = Pick<Env, "JOB_INDEX">;

/** All objects that share the index. */
export function allIndexes(env: IndexBinding) {
  return Array.from({ length: INDEXES }, (_, shard) => env.JOB_INDEX.getByName(String(shard)));
}

/** The name of the object that has the id in its index. */
export function indexNameOf(id: string): string {
  return String(shardOf(id, INDEXES));
}

/** A new stub for every call: the stub of an object that crashed stays broken. */
export function indexOf(env: IndexBinding, id: string) {
  return env.JOB_INDEX.getByName(indexNameOf(id));
}

/**
 * Whether a job without a space exists, before its object is called: a call would make the object of a job that
 * doesn't exist (decision 0043). The index is asked for the first request only. An object of a job that was erased
 * since exists all the same, and says so.
 */
export async function jobExists(env: IndexBinding, id: string): Promise<boolean> {
  if (known.has(id)) return true;
  const exists = await indexOf(env, id).has(id);
  if (exists) known.add(id);
  return exists;
}

/** Call this when a job was made. */
export function rememberJob(id: string): void {
  known.add(id);
}

/** Call this when a job turns out not to exist. */
export function forgetJob(id: string): void {
  known.forget(id);
}
