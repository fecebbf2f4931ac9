import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/protocol/codec.ts";
import {
  hasManyParts,
  isExactNumber,
  mayLoseDigits,
  orderedJson,
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
    fc
      .string({ unit: fc.constantFrom("\u0000", "\\", "u0000", "1", "-", '"') })
      .map((text) => JSON.stringify(text)),
    fc.constantFrom("true", "false", "null"),
    fc.array(tie("json"), { maxLength: 4 }).map((items) => `[${items.join()}]`),
    fc
      .dictionary(fc.stringMatching(/^[a-z_\0]{1,9}$/), tie("json"), { maxKeys: 4 })
      .map(
        (fields) =>
          `{${Object.entries(fields).map(([name, value]) => `${JSON.stringify(name)}:${value}`)}}`,
      ),
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

  it("is refused as JSON.parse refuses it, wherever a number stands that must not", () => {
    const broken = fc.tuple(
      json,
      fc.nat(),
      fc.constantFrom("1e20", "-", "1.", "01.0", ":", ",", "e5", '"', " "),
    );
    const parse = (read: (text: string) => unknown, text: string) => {
      try {
        return JSON.stringify(rounded(read(text) as Json));
      } catch {
        return "refused";
      }
    };
    fc.assert(
      fc.property(broken, ([text, at, piece]) => {
        const cut = at % (text.length + 1);
        const given = text.slice(0, cut) + piece + text.slice(cut);
        expect(parse(parseExact, given)).toBe(parse(JSON.parse, given));
        expect(parse(parseMessage, given)).toBe(parse(JSON.parse, given));
      }),
    );
    for (const given of [
      "{1e20:1}",
      "{1e20 :1}",
      "[1e20 1e20]",
      "[1e5-3]",
      "[00.0]",
      "[1.e5]",
      "[-]",
    ]) {
      expect(parse(parseExact, given)).toBe("refused");
    }
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

  it.each(['"', '"abc', '"a 1.0', '{"a":"b', '"\\', '"\\"', '{"a":"x\\"}'])(
    "ends at a string that is cut off: %s",
    (text) => {
      expect(mayLoseDigits(text)).toBe(false);
      expect(() => parseMessage(text)).toThrow();
    },
  );

  it("jumps over strings, whatever is escaped in them, and finds what stands after them", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('"', "\\", "1", ".", "0", "e", "a") }),
        (text) => {
          const quoted = JSON.stringify(text);
          expect(mayLoseDigits(`[${quoted}]`)).toBe(false);
          expect(mayLoseDigits(`[${quoted},1.0]`)).toBe(true);
          expect(mayLoseDigits(`{${quoted}:12,"b":[-7,0.25]}`)).toBe(false);
        },
      ),
    );
  });
});

describe("two values", () => {
  const shuffled = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== "object" || value === null || isExactNumber(value)) return value;
    const fields = Object.entries(value).map(([name, field]) => [name, shuffled(field)] as const);
    return Object.fromEntries(fields.reverse());
  };

  it("are the same if they differ in the order of their fields alone", () => {
    fc.assert(
      fc.property(json, (text) => {
        const value = parseExact(text);
        expect(orderedJson(shuffled(value))).toBe(orderedJson(value));
        expect(JSON.parse(orderedJson(value))).toEqual(JSON.parse(text));
      }),
    );
    expect(orderedJson(parseExact('{"b":[{"d":1.0,"c":null}],"a":"x"}'))).toBe(
      '{"a":"x","b":[{"c":null,"d":1.0}]}',
    );
  });

  it.each([
    ["[1,2]", "[2,1]"],
    ["1.0", "1"],
    ['{"a":null}', "{}"],
    ['{"a":{"b":1}}', '{"a":{"b":2}}'],
  ])("are not the same: %s and %s", (one, other) => {
    expect(orderedJson(parseExact(one))).not.toBe(orderedJson(parseExact(other)));
  });
});

describe("the numbers of a message", () => {
  it("are ordinary ones in a filter, whatever the names of its fields (R7)", () => {
    const text = '{"filter":{"where":{"data":1.0,"input.n":2.50}},"data":1.0}';
    expect(JSON.stringify(parseMessage(text))).toBe(
      '{"filter":{"where":{"data":1,"input.n":2.5}},"data":1.0}',
    );
  });

  it.each(["ref", "input", "output", "delta", "result", "metrics", "data"])(
    "keep their digits in `%s`, also inside of a batch (H18)",
    (field) => {
      const text = `{"frames":[{"type":"x","priority":2.0,"${field}":[1.0,{"priority":3.0}]}]}`;
      expect(JSON.stringify(parseMessage(text))).toBe(text.replace("2.0", "2"));
    },
  );
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
