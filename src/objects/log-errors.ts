/**
 * Runs `work` and logs what it throws. For one of many equal steps, such as sending an event to one
 * subscriber of a hundred: its failure must not keep the others from getting theirs.
 */
export function logErrors(work: () => void): void {
  try {
    work();
  } catch (error) {
    console.error("a step after a batch failed", error);
  }
}
