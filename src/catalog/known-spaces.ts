import { KnownNames } from "../objects/known-names.ts";
import { SpaceCatalog } from "./space-catalog.ts";

const known = new KnownNames();

/**
 * Whether the catalogue lists a space, before its object is called: a call would make the object of a space that
 * doesn't exist (decision 0043). The catalogue is read for the first request only. An object of a space that was
 * deleted since exists all the same, and says so.
 */
export async function spaceExists(db: D1Database, name: string): Promise<boolean> {
  if (known.has(name)) return true;
  const exists = await new SpaceCatalog(db).has(name);
  if (exists) known.add(name);
  return exists;
}

/** Call this when a space turns out not to exist. */
export function forgetSpace(name: string): void {
  known.forget(name);
}
