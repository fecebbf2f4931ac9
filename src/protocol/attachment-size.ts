/**
 * What a value of JSON takes in a socket's attachment, at most: text beyond Latin-1 takes two bytes a
 * character there, and a number nine, however short it is as text.
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
