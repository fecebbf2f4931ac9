import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  createSpaceBody,
  createTokenBody,
  DEFAULT_SETTINGS,
  listJobsQuery,
  patchSpaceBody,
  spaceSettings,
  submitBatchBody,
  submitJobBody,
} from "../../src/protocol/resources.ts";
import { jobId, spaceName, timestamp } from "../../src/protocol/values.ts";

function isValid(schema: z.ZodType, value: unknown): boolean {
  return schema.safeParse(value).success;
}

/** The paths at which a value is wrong. */
function wrongAt(schema: z.ZodType, value: unknown): string[] {
  const { error } = schema.safeParse(value);
  return error ? error.issues.map(({ path }) => path.join(".")) : [];
}

describe("the settings of a space", () => {
  it("have the documented defaults, which are valid themselves", () => {
    expect(spaceSettings.parse(DEFAULT_SETTINGS)).toEqual(DEFAULT_SETTINGS);
    expect(DEFAULT_SETTINGS).toMatchObject({
      visibility: "public",
      max_workers: 1,
      offline: "refuse",
      max_attempts: 3,
      reconnect_grace_s: 15,
      job_timeout_s: 120,
      result_ttl_s: 86_400,
    });
  });

  it.each([
    ["visibility", "secret"],
    ["enable_prompt", "true"],
    ["max_workers", 0],
    ["concurrency", 1.5],
    ["offline", null],
    ["max_queue", 0],
    ["max_attempts", 0],
    ["reconnect_grace_s", -1],
    ["queue_timeout_s", 0],
    ["stall_timeout_s", 604_801],
    ["job_timeout_s", null],
    ["result_ttl_s", 0],
    ["title", "t".repeat(121)],
  ])("have limits: `%s` must not be %j", (name, value) => {
    expect(wrongAt(spaceSettings, { ...DEFAULT_SETTINGS, [name]: value })).toEqual([name]);
    expect(wrongAt(patchSpaceBody, { [name]: value })).toEqual([name]);
  });

  it("may turn off the optional limits, and the grace", () => {
    const off = {
      concurrency: null,
      queue_timeout_s: null,
      first_output_timeout_s: null,
      stall_timeout_s: null,
      reconnect_grace_s: 0,
    };
    expect(isValid(patchSpaceBody, off)).toBe(true);
  });
});

describe("a new space", () => {
  it("needs a name and nothing else", () => {
    expect(createSpaceBody.parse({ name: "demo" })).toEqual({ name: "demo" });
    expect(wrongAt(createSpaceBody, {})).toEqual(["name"]);
  });

  it("is refused with a setting that doesn't exist, so that a typo isn't ignored", () => {
    expect(isValid(createSpaceBody, { name: "demo", max_worker: 2 })).toBe(false);
    expect(isValid(patchSpaceBody, { max_worker: 2 })).toBe(false);
  });

  it("is changed by sending only what changes, and its name can't be changed", () => {
    expect(isValid(patchSpaceBody, {})).toBe(false);
    expect(patchSpaceBody.parse({ title: "New" })).toEqual({ title: "New" });
    expect(isValid(patchSpaceBody, { name: "other" })).toBe(false);
  });
});

describe("a submit", () => {
  it("needs only an input, which must be an object (H5)", () => {
    expect(submitJobBody.parse({ input: {} })).toEqual({ input: {} });
    for (const input of [undefined, null, [], "hi", 5]) {
      expect(wrongAt(submitJobBody, { input })).toContain("input");
    }
  });

  it("may have a prompt, which must be text, and any other input", () => {
    expect(isValid(submitJobBody, { input: { prompt: "", steps: [1, null] } })).toBe(true);
    expect(wrongAt(submitJobBody, { input: { prompt: null } })).toEqual(["input.prompt"]);
  });

  it("is refused with an option that doesn't exist", () => {
    expect(isValid(submitJobBody, { input: {}, prioritty: 1 })).toBe(false);
    expect(isValid(submitJobBody, { input: {}, max_attempts: 9 })).toBe(false);
  });

  it.each([
    ["priority", 101],
    ["priority", 0.5],
    ["queue_timeout_s", 0],
    ["queue_timeout_s", null],
    ["job_timeout_s", "5"],
    ["cancel_on_disconnect", 1],
  ])("has limits: `%s` must not be %j (H5)", (name, value) => {
    expect(wrongAt(submitJobBody, { input: {}, [name]: value })).toEqual([name]);
  });

  it("of many jobs has at least one job, and at most 1,000 (H13)", () => {
    const jobs = (count: number) => ({ jobs: Array(count).fill({ input: {} }) });
    expect(isValid(submitBatchBody, jobs(0))).toBe(false);
    expect(isValid(submitBatchBody, jobs(LIMITS.batchJobs))).toBe(true);
    expect(isValid(submitBatchBody, jobs(LIMITS.batchJobs + 1))).toBe(false);
  });
});

describe("a query for jobs", () => {
  it("gets 20 jobs unless it has a limit (H16)", () => {
    expect(listJobsQuery.parse({})).toEqual({ limit: 20 });
    expect(listJobsQuery.parse({ limit: "100", status: "failed" })).toEqual({
      limit: 100,
      status: "failed",
    });
  });

  it.each([
    { limit: "0" },
    { limit: "101" },
    { limit: "" },
    { limit: "ten" },
    { limit: "1.5" },
    { status: "done" },
    { page: "2" },
  ])("is refused if it makes no sense: %j", (query) => {
    expect(isValid(listJobsQuery, query)).toBe(false);
  });
});

describe("a token", () => {
  it("has a name, which is trimmed", () => {
    expect(createTokenBody.parse({ name: " gpu " })).toEqual({ name: "gpu" });
    expect(isValid(createTokenBody, { name: " " })).toBe(false);
    expect(isValid(createTokenBody, { name: "gpu", admin: true })).toBe(false);
  });
});

describe("a name", () => {
  it("of a space has only characters that need no escaping in a URL", () => {
    for (const name of ["a", "0-a", "a".repeat(63)]) expect(isValid(spaceName, name)).toBe(true);
    for (const name of ["", "-a", "A", "a_b", "a.b", "a/b", "ä", "a\n", "a".repeat(64)]) {
      expect(isValid(spaceName, name)).toBe(false);
    }
  });

  it("of a job is the space's name, a dot and a ULID", () => {
    const names = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/);
    const ulids = fc.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    fc.assert(
      fc.property(names, ulids, (space, ulid) => {
        expect(isValid(jobId, `${space}.${ulid}`)).toBe(true);
        expect(isValid(jobId, `${space}${ulid}`)).toBe(false);
        expect(isValid(jobId, `${space}.${space}.${ulid}`)).toBe(false);
      }),
    );
  });
});

describe("a time", () => {
  it("is ISO 8601 in UTC", () => {
    expect(isValid(timestamp, new Date(0).toISOString())).toBe(true);
    for (const time of ["2026-11-20", "2026-11-20T10:00:00+01:00", "now", 0]) {
      expect(isValid(timestamp, time)).toBe(false);
    }
  });
});
