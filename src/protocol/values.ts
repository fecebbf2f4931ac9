import { z } from "zod";
import type { Json, JsonObject } from "./codec.ts";
import { isExactNumber } from "./exact-json.ts";

/** The id of an upload in a longer pattern. */
const UPLOAD = String.raw`[a-z0-9][a-z0-9-]{0,62}\.[\w-]{24}`;
const UPLOAD_ID = new RegExp(`^${UPLOAD}$`);

/** A text part of a form that stands for an upload: `upload:<id>`. */
export const UPLOAD_PART = new RegExp(`^upload:(${UPLOAD})$`);

/** A value that `JSON.parse` returned. Its depth and size were checked there already. */
export const json = z.custom<Json>((value) => value !== undefined, "is missing");

/** A JSON object, not an array and not null. */
export const jsonObject = z.custom<JsonObject>(
  (value) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !isExactNumber(value),
  "must be a JSON object",
);

/**
 * A client's mark on a frame, which the edge returns unchanged in its answer: a text, or a number of any
 * size.
 */
export const requestRef = z.union([
  z.string().max(200),
  z.custom<number>(isNumber, "must be a number"),
]);
export type RequestRef = z.infer<typeof requestRef>;

function isNumber(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  return isExactNumber(value) && JSON.stringify(value).length <= 200;
}

/** A space's name. It is part of URLs and of every job's id, so few characters are allowed. */
export const spaceName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    "must be 1 to 63 of a-z, 0-9 and -, starting with a letter or digit",
  );

/** The id of an account, or the `sub` of a user's token. */
export const userId = z
  .string()
  .regex(/^[\w.@|-]{1,128}$/, "must be 1 to 128 of A-Z, a-z, 0-9, _, ., @, | and -");

/** The id of a job of a space, `<space>.<ULID>`. */
export const jobId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}\.[0-9A-HJKMNP-TV-Z]{26}$/, "must be a job id");

/** The id of an upload, `<space>.<random>`: whoever knows it may go on with it. */
export const uploadId = z.string().regex(UPLOAD_ID, "must be the id of an upload");

/**
 * A list of `min` to `max` entries. Of a longer one only so many are looked at: an error for each of a hundred thousand
 * wrong ones would take seconds.
 */
export function list<T extends z.ZodType>(
  entry: T,
  { min = 0, max }: { min?: number; max: number },
): z.ZodType<z.output<T>[], z.input<T>[]> {
  const cut = (given: unknown) => (Array.isArray(given) ? given.slice(0, max + 1) : given);
  return z.preprocess(cut, z.array(entry).min(min).max(max)) as z.ZodType<
    z.output<T>[],
    z.input<T>[]
  >;
}

/** Text for people, up to `max` characters. Lone halves of surrogate pairs are replaced, as no store keeps them. */
export const text = (max: number) =>
  z
    .string()
    .max(max)
    .overwrite((value) => value.toWellFormed());

/** A position in a channel as text: `<epoch>:<offset>`. */
export const POSITION = /^[\w-]{1,40}:\d{1,15}$/;

/** A time in ISO 8601, in UTC, with milliseconds. */
export const timestamp = z.iso.datetime();
