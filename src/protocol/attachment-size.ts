/**
 * The most bytes that a JSON value takes in a socket's attachment. They aren't those of its JSON text: text
 * beyond Latin-1 takes two bytes a character, and a number takes nine, however few digits it has.
 */
export function attachmentSize(value: unknown): number {
  if (typeof value === "string") return TEXT_BYTES + value.length * (WIDE.test(value) ? 2 : 1);
  if (typeof value === "number") return NUMBER_BYTES;
  if (typeof value !== "object" || value === null) return 1;
  const parts = Array.isArray(value) ? value : Object.entries(value).flat();
  return parts.reduce((sum: number, part) => sum + attachmentSize(part), LIST_BYTES);
}

const WIDE = /[\u0100-\uffff]/;
const TEXT_BYTES = 5;
const NUMBER_BYTES = 9;
const LIST_BYTES = 8;
