import type { Json } from "../protocol/codec.ts";

/**
 * A number as it was written: 0.`digits` × 10^`exponent`. Zero has no digits; others begin and end with one that isn't
 * 0, so each number is written in one way. Nothing here is larger than the text it came from: `1e400` has one digit.
 */
export interface Decimal {
  isNegative: boolean;
  digits: string;
  exponent: number;
}

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** Beyond it, exponents can't be told apart. */
const FARTHEST = 2 ** 52;

/** @param value a number of JSON, or one that keeps its digits (see `parseExact`) */
export function decimalOf(value: Json): Decimal {
  const [, sign, whole = "", fraction = "", power = "0"] = NUMBER.exec(JSON.stringify(value)) ?? [];
  const all = whole + fraction;
  let start = 0;
  while (all.charCodeAt(start) === ZERO) start += 1;
  let end = all.length;
  while (end > start && all.charCodeAt(end - 1) === ZERO) end -= 1;
  if (start === end) return { isNegative: false, digits: "", exponent: 0 };
  const exponent = whole.length - start + Number(power);
  return {
    isNegative: sign === "-",
    digits: all.slice(start, end),
    exponent: Math.max(-FARTHEST, Math.min(FARTHEST, exponent)),
  };
}

const ZERO = 48;

/** Negative, zero or positive, as `a` is less than, equal to or more than `b`. */
export function compare(a: Decimal, b: Decimal): number {
  const [signA, signB] = [signOf(a), signOf(b)];
  if (signA !== signB) return signA - signB;
  if (a.exponent !== b.exponent) return signA * (a.exponent - b.exponent);
  if (a.digits === b.digits) return 0;
  return a.digits < b.digits ? -signA : signA;
}

function signOf({ isNegative, digits }: Decimal): -1 | 0 | 1 {
  if (digits === "") return 0;
  return isNegative ? -1 : 1;
}

/** Also `1.0` and `1e400` are whole numbers. */
export function isWhole({ digits, exponent }: Decimal): boolean {
  return digits.length <= exponent;
}

/**
 * Whether `value` is a multiple of `step`, which is above 0. Exact: 0.3 is a multiple of 0.1. Takes time by the length of
 * the digits alone, however large the exponent is.
 */
export function isMultipleOf(value: Decimal, step: Decimal): boolean {
  if (value.digits === "") return true;
  const shift = scaleOf(value) - scaleOf(step);
  // The last digit of `value` is not 0, so nothing with more places than `step` can be a multiple of it.
  if (shift < 0) return false;
  const divisor = BigInt(step.digits);
  return (remainder(value.digits, divisor) * powerOfTen(shift, divisor)) % divisor === 0n;
}

/** The power of ten of the last digit. */
function scaleOf({ digits, exponent }: Decimal): number {
  return exponent - digits.length;
}

const CHUNK = 15;

/** In chunks: a BigInt of half a million digits would take long to make. */
function remainder(digits: string, divisor: bigint): bigint {
  let rest = 0n;
  for (let at = 0; at < digits.length; at += CHUNK) {
    const chunk = digits.slice(at, at + CHUNK);
    rest = (rest * 10n ** BigInt(chunk.length) + BigInt(chunk)) % divisor;
  }
  return rest;
}

function powerOfTen(exponent: number, divisor: bigint): bigint {
  let power = 1n % divisor;
  let square = 10n % divisor;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = (power * square) % divisor;
    square = (square * square) % divisor;
  }
  return power;
}

/** The same text for equal numbers. */
export function numberKey(value: Json): string {
  const { isNegative, digits, exponent } = decimalOf(value);
  return `${isNegative ? "-" : ""}${digits}e${exponent}`;
}
