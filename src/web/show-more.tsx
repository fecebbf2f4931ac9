import type { Pages } from "./use-pages.ts";

/** The button under a list of which the edge has more; `what` names the list. */
export function ShowMore({ pages, what }: { pages: Pages<unknown>; what: string }) {
  if (!pages.hasMore) return null;
  return (
    <p class="more">
      <button type="button" aria-label={`Show more ${what}`} onClick={pages.showMore}>
        Show more
      </button>
    </p>
  );
}
