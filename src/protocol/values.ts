import { z } from "zod";
import type { Json, JsonObject } from "./codec.ts";

/** A value that came out of `JSON.parse`, whose depth and size were bounded there. */
export const json = z.custom<Json>((value) => value !== undefined, "is missing");

/** A JSON object, not an array and not null. */
export const jsonObject = z.custom<JsonObject>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "must be a JSON object",
);

/** `[a-z0-9][a-z0-9-]{0,62}`: it is part of URLs and of every job's id. */
export const spaceName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    "must be 1 to 63 of a-z, 0-9 and -, starting with a letter or digit",
  );

/** `<space>.<ULID>`. */
export const jobId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}\.[0-9A-HJKMNP-TV-Z]{26}$/, "must be a job id");

/** Text for people; halves of surrogate pairs, which no store keeps, are replaced. */
export const text = (max: number) =>
  z
    .string()
    .max(max)
    .overwrite((value) => value.toWellFormed());

/** ISO 8601, UTC, milliseconds. */
export const timestamp = z.iso.datetime();
