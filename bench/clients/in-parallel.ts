/** `count` times the same work at once; resolves when all is done. */
export async function inParallel(count: number, work: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, work));
}
