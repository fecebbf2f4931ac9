import { describe, expect, it } from "vitest";
import { buildInput, inputSchema, parseField } from "../../terminal/input-fields.ts";

const SCHEMA = inputSchema.parse({
  type: "object",
  properties: {
    text: { type: "string", format: "multiline" },
    width: { type: "integer", minimum: 1 },
    strength: { type: "number" },
    upscale: { type: "boolean" },
    tags: { type: "array", items: { type: "string" } },
    sizes: { type: "array", items: { type: "integer" } },
    options: { type: "object" },
    seed: { type: ["integer", "null"] },
    image: { type: "string", format: "image" },
    clips: { type: "array", items: { type: "string", format: "audio" } },
  },
  required: ["text"],
});
const build = (fields: string[], prompt: string | null = null, base = {}) =>
  buildInput({ prompt, fields: fields.map(parseField), base }, SCHEMA);

describe("fields of the command line", () => {
  it.each([
    [["width=512"], { width: 512 }],
    [["strength=0.5"], { strength: 0.5 }],
    [["upscale=yes"], { upscale: true }],
    [["upscale=False"], { upscale: false }],
    [["tags=a", "tags=b"], { tags: ["a", "b"] }],
    [["tags=one"], { tags: ["one"] }],
    [["sizes=1", "sizes=2"], { sizes: [1, 2] }],
    [["sizes=[1,2]"], { sizes: [1, 2] }],
    [['options={"a":1}'], { options: { a: 1 } }],
    [["seed="], { seed: null }],
    [["seed=7"], { seed: 7 }],
    [["text=a=b"], { text: "a=b" }],
    [["other=5"], { other: "5" }],
    [["other:=5"], { other: 5 }],
    [['width:="x"'], { width: "x" }],
  ])("%j become %j", (fields, input) => {
    expect(build(fields)).toEqual(input);
  });

  it("keep every digit of a number", () => {
    const input = build(["width=18446744073709551615", "strength=-1e3"]);
    expect(JSON.stringify(input)).toBe('{"width":18446744073709551615,"strength":-1e3}');
  });

  it.each([
    [["width=wide"], "--field width=wide: it must be a whole number"],
    [["upscale=maybe"], "true or false"],
    [["width=1", "width=2"], "is given 2 times, and takes one value"],
    [["image=cat.png"], "image is a file"],
    [["clips=a.wav"], "clips is a file"],
    [["options={"], "the value is not JSON"],
    [["width:=x"], "the value is not JSON"],
  ])("%j are refused in words", (fields, words) => {
    expect(() => build(fields)).toThrow(words);
  });

  it("need a name and a value", () => {
    expect(() => parseField("width")).toThrow("it has no value");
    expect(() => parseField("=x")).toThrow("it has no value");
    expect(parseField("a:=b")).toEqual({ name: "a", value: "b", isJson: true });
  });

  it("are texts without a schema, and lists if they are given several times", () => {
    const fields = ["a=1", "b=x", "b=y"].map(parseField);
    expect(buildInput({ prompt: "p", fields, base: { a: 0, c: 2 } }, null)).toEqual({
      a: "1",
      b: ["x", "y"],
      c: 2,
      prompt: "p",
    });
  });

  it("named __proto__ are fields like others", () => {
    const input = build(["__proto__=x"]);
    expect(Object.keys(input)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(input)).toBe(Object.prototype);
  });
});

describe("the prompt", () => {
  it("is the only text that the space needs", () => {
    expect(build(["width=1"], "a cat")).toEqual({ width: 1, text: "a cat" });
  });

  it("is `prompt` where that is known", () => {
    const schema = inputSchema.parse({
      properties: { text: { type: "string" }, prompt: { type: "string" } },
    });
    expect(buildInput({ prompt: "a cat", fields: [], base: {} }, schema)).toEqual({
      prompt: "a cat",
    });
  });

  it("is refused with the names of the fields if nobody knows where it goes", () => {
    const schema = inputSchema.parse({
      properties: { one: { type: "string" }, two: { type: "string" } },
    });
    const submit = () => buildInput({ prompt: "a cat", fields: [], base: {} }, schema);
    expect(submit).toThrow("the space takes no prompt");
  });
});
