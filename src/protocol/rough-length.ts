import type { Json } from "./codec.ts";

/** A number, a boolean or `null` and what separates values, about. */
const SCALAR_LENGTH = 8;

/** How long a value is as JSON, roughly and without writing it: escapes are not counted. */
export function roughLength(value: Json): number {
  if (typeof value === "string") return value.length + 3;
  if (typeof value !== "object" || value === null) return SCALAR_LENGTH;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + roughLength(item), 2);
  let sum = 2;
  for (const name in value) sum += name.length + 3 + roughLength(value[name] as Json);
  return sum;
}
