import type { AppContext } from "./context.ts";

/**
 * Makes a change that may take rights back from a holder, and ends the sockets that were opened with them. If this is
 * interrupted after the change, the holder's alarm ends them.
 *
 * @param holder as `holderOf` names it
 */
export async function takeBack<T>(
  c: AppContext,
  holder: string,
  change: () => Promise<T>,
): Promise<T> {
  const stub = () => c.env.HOLDER.getByName(holder);
  await stub().expectChange();
  const changed = await change();
  try {
    await stub().check();
  } catch (error) {
    console.error("sockets are ended a little later", error);
  }
  return changed;
}
