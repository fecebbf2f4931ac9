import type { Json, JsonObject } from "../protocol/codec.ts";
import type { Check } from "./check-run.ts";
import { compare, type Decimal, decimalOf, isMultipleOf } from "./decimal.ts";
import { fieldOf, kindOf } from "./json-kind.ts";

interface Bound {
  limit: Json;
  decimal: Decimal;
  /** Of the comparison of a value with the limit. */
  fits: (order: number) => boolean;
  message: string;
}

/** The check of the keywords about numbers; `null` if there are none. */
export function checkNumber(schema: JsonObject): Check | null {
  const bounds = [
    boundOf(schema, "minimum", (order) => order >= 0, "must be § or more"),
    boundOf(schema, "maximum", (order) => order <= 0, "must be § or less"),
    boundOf(schema, "exclusiveMinimum", (order) => order > 0, "must be more than §"),
    boundOf(schema, "exclusiveMaximum", (order) => order < 0, "must be less than §"),
  ].filter((bound) => bound !== null);
  const multipleOf = fieldOf(schema, "multipleOf");
  if (bounds.length === 0 && multipleOf === undefined) return null;
  const step = multipleOf === undefined ? null : decimalOf(multipleOf);
  const message = `must be a multiple of ${JSON.stringify(multipleOf)}`;
  return (value, run) => {
    if (kindOf(value) !== "number") return true;
    const wrong = bounds.find(({ limit, decimal, fits }) => !fits(orderOf(value, limit, decimal)));
    if (wrong !== undefined) return run.fail(wrong.message);
    return step === null || isMultipleOf(decimalOf(value), step) || run.fail(message);
  };
}

function boundOf(
  schema: JsonObject,
  name: string,
  fits: Bound["fits"],
  message: string,
): Bound | null {
  const limit = fieldOf(schema, name);
  if (limit === undefined) return null;
  const text = message.replace("§", JSON.stringify(limit));
  return { limit, decimal: decimalOf(limit), fits, message: text };
}

/** Two numbers of JavaScript are compared as such; others by their digits. */
function orderOf(value: Json, limit: Json, decimal: Decimal): number {
  if (typeof value === "number" && typeof limit === "number") return value - limit;
  return compare(decimalOf(value), decimal);
}
