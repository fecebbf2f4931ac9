import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readFields, readList, readString, whyNotJson } from "../../src/protocol/broken-json.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { anyText } from "./noise.ts";

describe("the fields of an object that may be no JSON", () => {
  it.each([
    ['{"a":1,"b":NaN}', { a: ["1"], b: ["NaN"] }],
    ["{'a': 'x', \"b\": None}", { a: ["'x'"], b: ["None"] }],
    ["{'long_name': 'x', 'z': 2}", { long_name: ["'x'"], z: ["2"] }],
    ['{"":1,"two words":2}', { "": ["1"], "two words": ["2"] }],
    [`{"${"n".repeat(60)}":1,"${"m".repeat(61)}":2}`, { ["n".repeat(60)]: ["1"] }],
    ['{"a" => 1, b=>2}', { a: ["1"], b: ["2"] }],
    ["{a: 1, b_2: [1,2]}", { a: ["1"], b_2: ["[1,2]"] }],
    ['\ufeff {"a" : 1 }', { a: ["1"] }],
    ['{"a":1,"a":2}', { a: ["1", "2"] }],
    [
      '{"a":"{\\"b\\":1}","c":{"b":2},"d":[{"b":3}]}',
      { a: ['"{\\"b\\":1}"'], c: ['{"b":2}'], d: ['[{"b":3}]'] },
    ],
    ['{"a":"\\\\","b":1}', { a: ['"\\\\"'], b: ["1"] }],
    ['{"a":1,"b":12', { a: ["1"] }],
    ['{"a":1,"b":"x"', { a: ["1"], b: ['"x"'] }],
    ['{"a":1,"b":"x', { a: ["1"] }],
    ['{"a":1},"b":2}', { a: ["1"] }],
    ['["a",1]', {}],
    ["no object", {}],
    ["", {}],
  ])("are read: %s", (text, fields) => {
    expect(Object.fromEntries(readFields(text))).toEqual(fields);
  });

  it("are those that JSON.parse finds, if it is JSON", () => {
    const name = fc.stringMatching(/^[a-z]{1,5}$/);
    fc.assert(
      fc.property(fc.dictionary(name, fc.jsonValue()), (value) => {
        const fields = readFields(JSON.stringify(value));
        const read = [...fields].map(([key, [text = ""]]) => [key, JSON.parse(text)]);
        expect(read).toEqual(Object.entries(JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  it("are not read if there are more of them than a batch may have frames, cut off or not", () => {
    const fieldsOf = (commas: number, end: string) =>
      readFields(`{"a":1${",".repeat(commas)}${end}`).size;
    for (const end of ["", "}"]) {
      expect(fieldsOf(LIMITS.batchFrames - 1, end)).toBe(1);
      expect(fieldsOf(LIMITS.batchFrames + 1, end)).toBe(0);
    }
    expect(fieldsOf(LIMITS.batchFrames, "")).toBe(1);
  });

  it("are read of any text without an error", () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        readFields(text);
        readFields(`{${text}`);
        readList(`{"frames":[${text}]}`, "frames");
        whyNotJson(text);
      }),
    );
  });

  it("are read in a time that grows with the text alone", () => {
    const size = 1_000_000;
    const texts = [
      `{"a":"${"\\\\".repeat(size / 2)}"`,
      `{"a":${"[".repeat(size)}`,
      `{${"'".repeat(size)}`,
      `{"a":"${'\\"'.repeat(size / 2)}`,
      `{${",".repeat(size)}`,
      `{"a":[${"1,".repeat(size / 2)}NaN]}`,
    ];
    const startedAt = performance.now();
    for (const text of texts) {
      readFields(text);
      whyNotJson(text);
    }
    // About a second on a slow machine; a quadratic reader would take hours.
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  it("are those of a list's entries, if every bracket fits", () => {
    const read = (text: string) => readList(text, "frames");
    expect(read('{"type":"batch","frames":[{"a":[1]},{"b":NaN}, {}]}')).toEqual([
      '{"a":[1]}',
      '{"b":NaN}',
      " {}",
    ]);
    expect(read('{"frames":[{"a":1}')).toBeNull();
    expect(read('{"frames":[1]} {"frames":[2]}')).toBeNull();
    expect(read('{"frames":[1]}\n')).toEqual(["1"]);
    expect(read('{"frames":[{"a":[1}]}')).toBeNull();
    expect(read('{"frames":[1],"frames":[2]}')).toBeNull();
    expect(read('{"frames":{"a":1}}')).toBeNull();
    expect(read(`{"frames":[${"1,".repeat(5_001)}1]}`)).toBeNull();
  });
});

describe("a string", () => {
  it.each([
    ['"a"', "a"],
    ["'a'", "a"],
    ['""', ""],
    ['"a\\n"', null],
    ["a", null],
    ['"a" b', null],
    [undefined, null],
  ])("is read without its quotes: %s", (text, value) => {
    expect(readString(text)).toBe(value);
  });
});

describe("what is wrong with a text that is no JSON", () => {
  it.each([
    ['{"a":NaN}', "NaN"],
    ['{"a":[1,-Infinity]}', "-Infinity"],
    ['{"a":None}', "None"],
    ["NaN", "NaN"],
    ["[None,1]", "None"],
    ["[ undefined ]", "undefined"],
    ["{'a': None}", "single quotes"],
    ['\ufeff{"a":1}', "byte order mark"],
    ['\ufeff{"a":NaN}', "NaN"],
    ['{"a":1,}', "a comma too many"],
    ['{"a":[1,2,]}', "a comma too many"],
    ['{"a":1', "ends too early"],
    ['{"a":"b', "ends too early"],
    ["{a:1}", "a name without double quotes"],
    ['{"a":1}{"a":2}', "follows after its end"],
    ['{"a":1 "b":2}', "not valid JSON"],
    ["nonsense", "not valid JSON"],
    [" ", "it is empty"],
  ])("is said: %s", (text, words) => {
    expect(whyNotJson(text)).toContain(words);
  });

  it("is not looked for in its strings", () => {
    expect(whyNotJson('{"a":"NaN, \'x\', }"')).toContain("too early");
  });
});
