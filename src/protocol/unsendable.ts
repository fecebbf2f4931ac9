/**
 * Why a value of JavaScript can't be sent as JSON: `JSON.stringify` would write something else without a word,
 * or throw without saying what to do. `null` if it can be.
 */
export function whyUnsendable(value: unknown): string | null {
  if (typeof value === "number" && !Number.isFinite(value)) {
    return `is ${value}, which JSON has no word for: send a finite number, null or text`;
  }
  if (value instanceof Map || value instanceof Set) {
    const what = value instanceof Map ? "a Map" : "a Set";
    return `is ${what}, which JSON would lose: send a plain object or a list`;
  }
  if (typeof value !== "bigint") return null;
  return (
    "is a bigint, which JSON.stringify can't write: use JSON.rawJSON(String(value)) to send a number with all " +
    "its digits (Node.js 22 or newer, and current browsers), or send it as text"
  );
}
