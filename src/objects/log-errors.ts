/**
 * Runs `step`, and logs what it throws instead of throwing it on. Use it for each of many equal steps, such as
 * sending an event to one subscriber of a hundred: if one step fails, the others must still run.
 */
export function logErrors(step: () => void): void {
  try {
    step();
  } catch (error) {
    console.error("a step after a batch failed", error);
  }
}
