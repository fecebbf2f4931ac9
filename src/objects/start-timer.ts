/** Calls `onTimer` with the current time after `ms` milliseconds. Returns a function that cancels the timer. */
export function startTimer(ms: number, onTimer: (now: number) => void): () => void {
  const timer = setTimeout(() => onTimer(Date.now()), ms);
  return () => clearTimeout(timer);
}
