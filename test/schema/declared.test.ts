import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/protocol/codec.ts";
import { readDeclared } from "../../src/schema/declared.ts";

function refusalOf(declared: unknown): string {
  const read = readDeclared(declared as Json);
  return read.ok ? "taken" : read.message;
}

const ofInput = (properties: object, more: object = {}) =>
  refusalOf({ input: { type: "object", properties, ...more } });

describe("a declared schema", () => {
  it("is taken with what the libraries for Python and TypeScript make of types (W35)", () => {
    const pydantic = {
      $defs: {
        Style: { enum: ["photo", "drawing"], title: "Style", type: "string" },
        Size: {
          properties: { width: { default: 512, maximum: 2048, title: "Width", type: "integer" } },
          title: "Size",
          type: "object",
        },
      },
      properties: {
        prompt: { title: "Prompt", type: "string", format: "multiline" },
        seed: { anyOf: [{ type: "integer" }, { type: "null" }], default: null, title: "Seed" },
        style: { $ref: "#/$defs/Style", default: "photo" },
        size: { allOf: [{ $ref: "#/$defs/Size" }] },
        photo: { anyOf: [{ type: "string", format: "image" }, { type: "null" }] },
        papers: { type: "array", items: { type: "string", format: "file" } },
      },
      required: ["prompt"],
      title: "Input",
      type: "object",
    };
    const zod = {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: {
        mail: { type: "string", format: "email", pattern: "^(?!\\.)[a-z.]+@[a-z.]+$" },
        kind: {
          oneOf: [
            { const: "a", title: "A" },
            { const: "b", title: "B" },
          ],
        },
      },
      additionalProperties: false,
    };
    expect(refusalOf({ input: pydantic, output: { type: "string", format: "markdown" } })).toBe(
      "taken",
    );
    expect(refusalOf({ input: zod })).toBe("taken");
    expect(refusalOf({})).toBe("taken");
  });

  it("is taken as the pages of the documentation have it", () => {
    const blocks = ["docs/workers.md", "docs/protocol.md"].flatMap((page) => {
      const text = readFileSync(join(import.meta.dirname, "../..", page), "utf8");
      return [...text.matchAll(/^```json\n([^`]*"properties"[^`]*)^```/gm)].map(
        ([, json = ""]) => json,
      );
    });
    expect(blocks).toHaveLength(2);
    for (const block of blocks) {
      const parsed = JSON.parse(block);
      expect(refusalOf(parsed.schema ?? parsed)).toBe("taken");
    }
  });

  it.each<[string, unknown, string]>([
    ["no object", [], "it must be a JSON object"],
    ["an unknown part", { inputs: {} }, "inputs"],
    ["an input that is no object", { input: 5 }, "/input must be a JSON object"],
    ["an input of another type", { input: { type: "string" } }, '/input/type must be "object"'],
    ["a type that there is not", { output: { type: "int" } }, "/output/type must be one of"],
    [
      "a bound that is text",
      { input: { type: "object", properties: { a: { minimum: "1" } } } },
      "/input/properties/a/minimum must be a number",
    ],
    ["a step of nothing", { output: { multipleOf: 0 } }, "/output/multipleOf must be above 0"],
    ["a count below nothing", { output: { minLength: -1 } }, "/output/minLength"],
    ["no choice at all", { output: { enum: [] } }, "/output/enum must be a list with one"],
    ["a reference elsewhere", { output: { $ref: "https://e.org/s" } }, "nothing is fetched"],
    ["a reference to nothing", { output: { $ref: "#/$defs/a" } }, "/output/$ref names no schema"],
    ["a list for items", { output: { items: [{}] } }, "`prefixItems`"],
    ["a keyword that is not taken", { output: { unevaluatedProperties: false } }, "leave"],
    ["no schema", { output: { not: 5 } }, "/output/not must be a schema"],
    ["an expression that may take hours", { output: { pattern: "(a)\\1" } }, "/output/pattern"],
  ])("with %s is refused with its place (W35b)", (_, declared, message) => {
    if (message === "leave") expect(refusalOf(declared)).toContain("additionalProperties");
    else expect(refusalOf(declared)).toContain(message);
  });

  it("that refers to itself is taken if each round looks deeper into the value, and else refused", () => {
    const node = { type: "object", properties: { next: { $ref: "#/$defs/node" } } };
    expect(ofInput({ list: { $ref: "#/$defs/node" } }, { $defs: { node } })).toBe("taken");
    expect(ofInput({ list: { $ref: "#" } })).toBe("taken");
    const loop = { a: { $ref: "#/$defs/b" }, b: { anyOf: [{ $ref: "#/$defs/a" }] } };
    expect(ofInput({ x: { $ref: "#/$defs/a" } }, { $defs: loop })).toContain("without an end");
    expect(refusalOf({ output: { $ref: "#" } })).toContain("without an end");
    const chain = Object.fromEntries(
      Array.from({ length: 500 }, (_, n) => [`a${n}`, { $ref: `#/$defs/a${n + 1}` }]),
    );
    const defs = { ...chain, a500: {} };
    expect(ofInput({}, { $defs: defs })).toContain("after each other");
  });

  it("is bounded in size, parts and the length of its numbers (W35b)", () => {
    expect(refusalOf({ output: { title: "x".repeat(70_000) } })).toContain("65536 are allowed");
    const many = Object.fromEntries(Array.from({ length: 2_100 }, (_, n) => [`p${n}`, {}]));
    expect(ofInput(many)).toContain("more than 2000 schemas");
    expect(refusalOf({ output: { pattern: "a".repeat(3_000) } })).toContain("2000 characters");
    expect(ofInput({ ["x".repeat(201)]: {} })).toContain("200 characters");
    const long = Array.from({ length: 1_900 }, () => ({ pattern: "[a-z]{1900}" }));
    expect(refusalOf({ output: { anyOf: long } })).toContain("expressions");
    const begun = performance.now();
    const chain = Object.fromEntries(
      Array.from({ length: 60 }, (_, n) => [
        `a${n}`,
        {
          $ref: `#/$defs/a${n + 1}`,
          ...Object.fromEntries(Array.from({ length: 25 }, (_, k) => [`x${n}-${k}`, 1])),
        },
      ]),
    );
    const users = Object.fromEntries(
      Array.from({ length: 1_200 }, (_, n) => [`p${n}`, { $ref: "#/$defs/a0" }]),
    );
    expect(ofInput(users, { $defs: { ...chain, a60: {} } })).toBe("taken");
    expect(performance.now() - begun).toBeLessThan(2_000);
  });

  it("has files among the properties of its input alone (W35c)", () => {
    const image = { type: "string", format: "image" };
    expect(ofInput({ a: image, b: { type: "array", items: image } })).toBe("taken");
    expect(ofInput({ a: { type: "object", properties: { b: image } } })).toContain(
      "/input/properties/a/properties/b stands for a file",
    );
    const nested = { type: "array", items: { type: "object", properties: { b: image } } };
    expect(ofInput({ a: nested })).toContain("stands for a file");
    expect(refusalOf({ output: { properties: { a: { properties: { b: image } } } } })).toBe(
      "taken",
    );
  });
});
