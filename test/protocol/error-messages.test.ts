import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseJson } from "../../src/protocol/codec.ts";
import { PLAIN_MESSAGES } from "../../src/protocol/error-messages.ts";
import {
  createSpaceBody,
  createTokenBody,
  listJobsQuery,
  patchSpaceBody,
  submitBatchBody,
  submitJobBody,
} from "../../src/protocol/resources.ts";
import { spaceClientFrame } from "../../src/protocol/subscriber-frames.ts";
import { workerFrame } from "../../src/protocol/worker-frames.ts";
import { damaged } from "./noise.ts";

/** The messages about a value, by path. */
function messagesOf(schema: z.ZodType, value: unknown): Record<string, string> {
  const { error } = schema.safeParse(value, PLAIN_MESSAGES);
  const messages = error?.issues.map(({ path, message }) => [path.join("."), message]) ?? [];
  return Object.fromEntries(messages);
}

describe("the message about a wrong value", () => {
  it.each<[z.ZodType, unknown, Record<string, string>]>([
    [createSpaceBody, {}, { name: "is missing" }],
    [createSpaceBody, [], { "": "must be a JSON object" }],
    [createSpaceBody, null, { "": "must be a JSON object" }],
    [createSpaceBody, { name: 5 }, { name: "must be text" }],
    [
      createSpaceBody,
      { name: "a", max_worker: 1 },
      {
        "": "has a field that is not known here: max_worker; check the spelling, or leave it out",
      },
    ],
    [
      createTokenBody,
      { name: "a", a: 1, b: 2 },
      { "": "has fields that are not known here: a, b; check the spelling, or leave them out" },
    ],
    [patchSpaceBody, {}, { "": "names nothing to change" }],
    [patchSpaceBody, { offline: "maybe" }, { offline: 'must be one of "refuse", "queue"' }],
    [patchSpaceBody, { enable_audio: "yes" }, { enable_audio: "must be true or false" }],
    [patchSpaceBody, { title: "t".repeat(121) }, { title: "must have 120 characters at most" }],
    [patchSpaceBody, { max_workers: 65 }, { max_workers: "must be 64 or less" }],
    [patchSpaceBody, { max_workers: 1.5 }, { max_workers: "must be a whole number" }],
    [patchSpaceBody, { job_timeout_s: 0 }, { job_timeout_s: "must be more than 0" }],
    [patchSpaceBody, { reconnect_grace_s: -1 }, { reconnect_grace_s: "must be 0 or more" }],
    [createTokenBody, { name: " " }, { name: "must not be empty" }],
    [submitJobBody, {}, { input: "must be a JSON object" }],
    [submitJobBody, { input: {}, priority: "high" }, { priority: "must be a number" }],
    [submitJobBody, { input: {}, requires: "gpu" }, { requires: "must be a list" }],
    [
      submitJobBody,
      { input: {}, webhook: "here" },
      { webhook: "must be an address, such as https://example.com/hook" },
    ],
    [
      submitJobBody,
      { input: {}, webhook: 5 },
      { webhook: "must be text, or must be a JSON object" },
    ],
    [submitBatchBody, { jobs: [] }, { jobs: "must not be empty" }],
    [submitBatchBody, { jobs: Array(1_001).fill({}) }, { jobs: "must have 1000 entries at most" }],
    [listJobsQuery, { limit: "ten" }, { limit: "must be a number" }],
    [spaceClientFrame, {}, { type: "is missing" }],
    [
      spaceClientFrame,
      { type: "subscribe" },
      { type: 'must be one of "submit", "follow", "unfollow", "cancel"' },
    ],
    [spaceClientFrame, { type: "submit", input: {} }, { ref: "is missing" }],
    [
      spaceClientFrame,
      { type: "submit", input: {}, ref: null },
      { ref: "must be text, or must be a number" },
    ],
    [workerFrame, { type: "register" }, { worker_id: "is missing" }],
  ])("says what to do: %#", (schema, value, messages) => {
    expect(messagesOf(schema, value)).toEqual(messages);
  });

  it("repeats only a few of a stranger's field names, and only the beginning of each", () => {
    const long = Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`${n}`.repeat(900), n]));
    const [message] = Object.values(messagesOf(createTokenBody, { name: "a", ...long }));
    expect(message?.length).toBeLessThan(500);
    expect(message).toContain("…");
  });

  it("is the schema's own message if it has one", () => {
    const even = z.number().refine((value) => value % 2 === 0, "must be even");
    expect(messagesOf(z.object({ even }), { even: 3 })).toEqual({ even: "must be even" });
  });

  it("is never the message of the validation library", () => {
    const good: [z.ZodType, object[]][] = [
      [createSpaceBody, [{ name: "a", visibility: "public", max_queue: 5, cache_ttl_s: 1 }]],
      [
        submitJobBody,
        [
          { input: { prompt: "a" }, priority: 1, requires: ["gpu"], cancel_on_disconnect: true },
          { input: {}, webhook: { url: "https://example.com", events: ["start"] } },
        ],
      ],
      [
        workerFrame,
        [
          { type: "register", worker_id: "w", resume: [{ job_id: "a", attempt: 1 }] },
          { type: "fail", job_id: "a", attempt: 1, code: "c", message: "m", retryable: true },
        ],
      ],
    ];
    for (const [schema, values] of good) {
      const anyDamage = fc.property(damaged(values), (text) => {
        const parsed = parseJson(text);
        for (const message of Object.values(messagesOf(schema, parsed.ok && parsed.value))) {
          expect(message).toMatch(/^(is|must|has|names) /);
          expect(message).not.toMatch(/Invalid|expected|received|undefined|Too (big|small)/);
        }
      });
      fc.assert(anyDamage, { numRuns: 300 });
    }
  });
});
