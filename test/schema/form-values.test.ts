import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import { numberOf, typedInput } from "../../src/schema/form-values.ts";

const ROOT: JsonObject = {
  type: "object",
  $defs: { Level: { type: "integer", enum: [1, 2] } },
  properties: {
    steps: { type: "integer" },
    weight: { anyOf: [{ type: "number" }, { type: "null" }] },
    isSharp: { type: "boolean" },
    name: { type: "string" },
    day: { type: "string", format: "date" },
    tags: { type: "array", items: { type: "string" } },
    sizes: { type: "array", items: { type: "integer" } },
    level: { $ref: "#/$defs/Level" },
    size: { type: "object", properties: { width: { type: "integer" } } },
    choice: { oneOf: [{ const: 1 }, { const: "a" }] },
    anything: {},
  },
};

function typed(fields: Record<string, Json>): string {
  return JSON.stringify(typedInput(fields, Object.keys(fields), ROOT));
}

describe("the fields of a form", () => {
  it.each<[Record<string, Json>, string]>([
    [{ steps: "7" }, '{"steps":7}'],
    [{ steps: " +007 " }, '{"steps":7}'],
    [{ steps: "18446744073709551615" }, '{"steps":18446744073709551615}'],
    [{ steps: "1.0" }, '{"steps":1.0}'],
    [{ steps: "many" }, '{"steps":"many"}'],
    [{ steps: "0x10" }, '{"steps":"0x10"}'],
    [{ weight: ".5" }, '{"weight":0.5}'],
    [{ weight: "" }, "{}"],
    [{ weight: "null" }, '{"weight":null}'],
    [{ isSharp: "on" }, '{"isSharp":true}'],
    [{ isSharp: "False" }, '{"isSharp":false}'],
    [{ name: "7" }, '{"name":"7"}'],
    [{ name: "" }, '{"name":""}'],
    [{ day: "" }, "{}"],
    [{ tags: "a,b" }, '{"tags":["a,b"]}'],
    [{ tags: ["1", "2"] }, '{"tags":["1","2"]}'],
    [{ sizes: ["1", "2.50"] }, '{"sizes":[1,2.50]}'],
    [{ sizes: "[1,2]" }, '{"sizes":[1,2]}'],
    [{ sizes: "3" }, '{"sizes":[3]}'],
    [{ sizes: "" }, "{}"],
    [{ level: "2" }, '{"level":2}'],
    [{ size: '{"width":1}' }, '{"size":{"width":1}}'],
    [{ size: "{" }, '{"size":"{"}'],
    [{ choice: "1" }, '{"choice":1}'],
    [{ choice: "b" }, '{"choice":"b"}'],
    [{ anything: "1" }, '{"anything":"1"}'],
    [{ unknown: "1" }, '{"unknown":"1"}'],
  ])("%j become what the schema says: %s (H27c)", (fields, expected) => {
    expect(typed(fields)).toBe(expected);
  });

  it("stay as they are if they came in the part `input`, which is JSON", () => {
    const input = { steps: "7", __proto__: 1 };
    expect(typedInput(input, [], ROOT)).toEqual(input);
  });

  it("are as they were typed if they have a name that objects inherit", () => {
    const fields = JSON.parse('{"__proto__":"1","constructor":"2"}');
    expect(JSON.stringify(typedInput(fields, ["__proto__", "constructor"], ROOT))).toBe(
      '{"__proto__":"1","constructor":"2"}',
    );
  });
});

describe("a typed number", () => {
  it.each([
    ["5.", "5"],
    ["-.5", "-0.5"],
    ["1E3", "1E3"],
    ["0", "0"],
    ["-0", "-0"],
  ])("%s is %s", (text, expected) => {
    expect(JSON.stringify(numberOf(text))).toBe(expected);
  });

  it.each(["", "1,5", "Infinity", "1e", "--1", "1 2"])("is not %j", (text) => {
    expect(numberOf(text)).toBe(null);
  });
});
