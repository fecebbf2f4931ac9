/**
 * The page of a list, and where the next one begins; `null` if this is the last.
 *
 * @param found one entry more than the page may have, if there are so many
 */
export function pageOf<E extends { id: string }>(
  found: readonly E[],
  limit: number,
): { entries: E[]; next: string | null } {
  const entries = found.slice(0, limit);
  return { entries, next: found.length > limit ? (entries.at(-1)?.id ?? null) : null };
}
