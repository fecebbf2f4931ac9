import type { z } from "zod";

type Issue = z.core.$ZodRawIssue;

/**
 * Describes what is wrong with a value that came from outside, for the person who sent it. The text continues
 * the value's name and says what to do, as in `priority` + `must be a number`. Zod calls it only for issues
 * whose schema has no message of its own.
 */
export function describeIssue(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? MISSING : `must be ${typeName(issue.expected)}`;
    case "invalid_value":
      if (issue.input === undefined) return MISSING;
      return `must be ${issue.values.length > 1 ? "one of " : ""}${listOf(issue.values)}`;
    case "invalid_format":
      return `must be ${FORMATS[issue.format] ?? "written in another way"}`;
    case "too_small":
      return tooSmall(issue);
    case "too_big":
      return tooBig(issue);
    case "unrecognized_keys":
      return unknownFields(issue.keys);
    case "invalid_union":
      return noAlternativeFits(issue);
    default:
      return "is not valid";
  }
}

/** Options for `safeParse` that give every issue a plain message. */
export const PLAIN_MESSAGES: z.core.ParseContext<z.core.$ZodIssue> = { error: describeIssue };

const MISSING = "is missing";

const TYPES: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  null: "null",
  array: "a list",
  object: "a JSON object",
  record: "a JSON object",
};

function typeName(expected: string): string {
  return TYPES[expected] ?? expected;
}

const FORMATS: Record<string, string> = {
  url: "an address, such as https://example.com/hook",
  datetime: "a time in UTC, such as 2026-01-31T12:00:00Z",
  safeint: "a whole number",
};

function listOf(values: readonly unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(", ");
}

/** What the size of a value counts, by the type of the value. */
const UNITS: Record<string, string> = { string: "character", array: "entry" };

function counted(count: number | bigint, origin: string): string {
  const unit = UNITS[origin] ?? "part";
  if (Number(count) === 1) return `1 ${unit}`;
  return `${count} ${unit.endsWith("y") ? `${unit.slice(0, -1)}ies` : `${unit}s`}`;
}

function tooSmall({ origin, minimum, inclusive }: Extract<Issue, { code: "too_small" }>): string {
  if (origin in UNITS) {
    return Number(minimum) === 1
      ? "must not be empty"
      : `must have ${counted(minimum, origin)} or more`;
  }
  return inclusive === false ? `must be more than ${minimum}` : `must be ${minimum} or more`;
}

function tooBig({ origin, maximum, inclusive }: Extract<Issue, { code: "too_big" }>): string {
  if (origin in UNITS) return `must have ${counted(maximum, origin)} at most`;
  return inclusive === false ? `must be less than ${maximum}` : `must be ${maximum} or less`;
}

/** How many unknown fields a message names, and how many characters of each: a stranger chose them. */
const NAMED_FIELDS = 5;
const NAMED_LENGTH = 60;

function unknownFields(keys: readonly string[]): string {
  const names = keys.slice(0, NAMED_FIELDS).map((key) => key.slice(0, NAMED_LENGTH).toWellFormed());
  const more = keys.length > NAMED_FIELDS ? " …" : "";
  const [fields, them] = keys.length > 1 ? ["fields that are", "them"] : ["a field that is", "it"];
  return `has ${fields} not known here: ${names.join(", ")}${more}; check the spelling, or leave ${them} out`;
}

/** A value that fits no alternative: lists the `type`s there are, or else what each alternative requires. */
function noAlternativeFits(issue: Extract<Issue, { code: "invalid_union" }>): string {
  const { discriminator, options, input } = issue;
  if (discriminator !== undefined && Array.isArray(options)) {
    const isGiven = Object(input)[discriminator] !== undefined;
    return isGiven ? `must be one of ${listOf(options)}` : MISSING;
  }
  if (input === undefined) return MISSING;
  const messages = issue.errors.flatMap(([first]) => {
    if (!first) return [];
    return first.path.length > 0 ? `${first.path.join(".")} ${first.message}` : first.message;
  });
  return [...new Set(messages)].join(", or ") || "is not valid";
}
