import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/protocol/codec.ts";
import {
  hasManyParts,
  mayLoseDigits,
  parseExact,
  parseMessage,
  rounded,
} from "../../src/protocol/exact-json.ts";

const number = fc.oneof(
  fc.stringMatching(/^-?(0|[1-9]\d{0,25})(\.\d{1,20})?([eE][-+]?\d{1,3})?$/),
  fc.constantFrom("-0", "0", "-0.0", "1.0", "1e400", "-1E-400", "0.0000001", "9007199254740993"),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
);

/** JSON text without spaces, whose objects have no two fields of one name. */
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    number,
    fc.string().map((text) => JSON.stringify(text)),
    fc.constantFrom("true", "false", "null"),
    fc.array(tie("json"), { maxLength: 4 }).map((items) => `[${items.join()}]`),
    fc
      .dictionary(fc.stringMatching(/^[a-z_]{1,9}$/), tie("json"), { maxKeys: 4 })
      .map((fields) => `{${Object.entries(fields).map(([name, value]) => `"${name}":${value}`)}}`),
  ),
}));

describe("what belongs to users", () => {
  it("is written as it was sent, with every digit of its numbers (H18)", () => {
    fc.assert(
      fc.property(json, (text) => {
        expect(JSON.stringify(parseExact(text))).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  it("keeps its digits in a message, while the edge reads numbers in the other fields (H18)", () => {
    fc.assert(
      fc.property(json, number, (text, priority) => {
        const message = `{"type":"submit","priority":${priority},"input":${text}}`;
        const read = parseMessage(message) as { priority: unknown; input: Json };
        expect(read.priority).toBe(JSON.parse(priority));
        expect(JSON.stringify(read.input)).toBe(text);
      }),
    );
  });

  it("is as JSON.parse reads it once it is rounded", () => {
    fc.assert(
      fc.property(json, (text) => {
        expect(rounded(parseExact(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  it("keeps a field named __proto__ (H18)", () => {
    const text = '{"input":{"__proto__":{"a":1.0},"constructor":2}}';
    expect(JSON.stringify(parseMessage(text))).toBe(text);
    expect(JSON.stringify((parseMessage('{"x":1.50,"input":{}}') as { x: number }).x)).toBe("1.5");
  });
});

describe("the search for numbers that may lose digits", () => {
  it("finds none in a job's id, a time or a usual number, so that most messages are parsed the fast way", () => {
    const message = JSON.stringify({
      type: "progress",
      job_id: "demo.01JD8Z3K9QX5T7W2V4N6B8M0E0",
      created_at: "2026-11-21T11:03:31.670Z",
      progress: 12.5,
      list: [0, -1, 0.1, 1_000_000, 123_456_789_012_345],
    });
    expect(mayLoseDigits(message)).toBe(false);
  });
});

describe("the number of a text's parts", () => {
  it.each([
    ["[1.0,1e20,-0]", 4],
    ['{"a":[],"b":{"c":1}}', 6],
    ['"[[{:1.0"', 0],
    ['["\\"[[","]]"]', 1],
    ["[1,2,3,0.5,123]", 1],
  ])("of %s is %i: lists, objects, fields, and numbers that keep their digits", (text, parts) => {
    expect(hasManyParts(text, parts)).toBe(false);
    expect(hasManyParts(text, parts - 1)).toBe(true);
  });
});
