import fc from "fast-check";
import type { z } from "zod";
import { decodeFrame, parseJson } from "../../src/protocol/codec.ts";

/** Any character but lone surrogates; fast-check's own `binary` unit takes a second to start. */
const character = fc
  .oneof(fc.nat(0x7f), fc.nat(0xd7ff), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

export function anyText(
  bounds: { minLength?: number; maxLength?: number } = {},
): fc.Arbitrary<string> {
  return fc.string({ unit: character, ...bounds });
}

/** Decodes the JSON text of `frame`, as if a peer had sent it. */
export function decode<T>(schema: z.ZodType<T>, frame: unknown) {
  return decodeFrame(JSON.stringify(frame), schema);
}

/** The JSON of valid frames in which one value, at any depth, is replaced or left out. */
export function damaged(frames: readonly object[]): fc.Arbitrary<string> {
  const paths = frames.flatMap((frame) => pathsOf(frame).map((path) => ({ frame, path })));
  return fc
    .tuple(fc.constantFrom(...paths), fc.option(fc.jsonValue(), { nil: undefined }))
    .map(([{ frame, path }, value]) => JSON.stringify(replaced(frame, path, value)));
}

/** The code with which this text is refused if it is no valid frame; `frames` has one of every type. */
export function refusalCodeOf(raw: string, frames: readonly { type: string }[]) {
  const given = parseJson(raw);
  const isObject =
    given.ok &&
    typeof given.value === "object" &&
    given.value !== null &&
    !Array.isArray(given.value);
  const type = isObject ? (given.value as { type?: unknown }).type : null;
  const isKnown = frames.some((frame) => frame.type === type);
  return isObject && !isKnown ? "unknown_frame" : "malformed_frame";
}

function pathsOf(value: unknown, prefix: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [prefix];
  const inner = Object.entries(value).flatMap(([key, part]) => pathsOf(part, [...prefix, key]));
  return [prefix, ...inner];
}

function replaced(value: unknown, [key, ...rest]: string[], by: unknown): unknown {
  if (key === undefined) return by ?? null;
  const copy: Record<string, unknown> = { ...(value as object) };
  copy[key] = rest.length === 0 ? by : replaced(copy[key], rest, by);
  return Array.isArray(value) ? Object.values(copy) : copy;
}
