import type { CatalogEntry, SpaceCatalog, SpaceListFilter } from "./space-catalog.ts";

/** `mine`: what the caller owns or is a member of comes first. */
export type SpaceOrder = "name" | "mine";

export interface SpacePage {
  entries: CatalogEntry[];
  /** The cursor of the next page; `null`: this is the last one. */
  next: string | null;
}

/** Begins the cursor of a page that ends among the caller's own spaces; no name has a colon. */
const MINE = "mine:";

/** One page of the spaces that a caller may see. A cursor is good for the order that it was made for. */
export async function readSpacePage(
  catalog: SpaceCatalog,
  asked: Omit<SpaceListFilter, "after" | "notOf"> & { cursor: string; order: SpaceOrder },
): Promise<SpacePage> {
  const { cursor, order, limit, ...filter } = asked;
  const { userId } = filter;
  const rest = { ...filter, limit: limit + 1 };
  // A user's token opens what it names, whosever that is.
  if (order === "name" || userId === null || filter.spaces !== null) {
    const after = cursor.replace(MINE, "");
    return pageOf([], await catalog.list({ ...rest, after }), limit);
  }
  const isAmongMine = cursor === "" || cursor.startsWith(MINE);
  const [mine, others] = await Promise.all([
    isAmongMine ? catalog.listOf(userId, cursor.replace(MINE, ""), limit + 1) : [],
    catalog.list({ ...rest, after: isAmongMine ? "" : cursor, notOf: userId }),
  ]);
  return pageOf(mine, others, limit);
}

function pageOf(mine: CatalogEntry[], others: CatalogEntry[], limit: number): SpacePage {
  const all = [...mine, ...others];
  const entries = all.slice(0, limit);
  const last = entries.at(-1)?.name;
  if (all.length <= limit || last === undefined) return { entries, next: null };
  return { entries, next: limit <= mine.length ? MINE + last : last };
}
