/** Runs `work` `count` times at once; resolves when all runs are done. */
export async function inParallel(count: number, work: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, work));
}
