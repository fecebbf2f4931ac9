import { Validator } from "@cfworker/json-schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/protocol/codec.ts";
import { parseExact } from "../../src/protocol/exact-json.ts";
import { readDeclared } from "../../src/schema/declared.ts";
import { type GivenFile, InputSchema } from "../../src/schema/input-schema.ts";

function schemaOf(input: object): InputSchema {
  const read = readDeclared({ input } as Json);
  if (!read.ok || read.schema.input === undefined) throw new Error(read.ok ? "none" : read.message);
  return new InputSchema(read.schema.input);
}

/** The errors of the value in the field `a`, as `path: message`. */
function errorsOf(schema: object, value: string, more: object = {}): string[] {
  const checked = schemaOf({ type: "object", properties: { a: schema }, ...more });
  const input = parseExact(`{"a":${value}}`) as JsonObject;
  return checked
    .errorsOf(input, [], value.length)
    .map(({ path, message }) => `${path}: ${message}`);
}

describe("an input", () => {
  it.each<[object, string[], string[]]>([
    [{ type: "integer" }, ["1", "1.0", "1e400", "9007199254740993", "-0"], ["1.5", '"1"', "null"]],
    [{ maximum: 9007199254740992 }, ["9007199254740992.0"], ["9007199254740993", "1e400"]],
    [{ type: "number", multipleOf: 0.1 }, ["0.3", "1.10"], ["0.35"]],
    [{ enum: [1, "a", null, { b: [2] }] }, ["1.0", "null", '{"b":[2.00]}'], ["2", '{"b":[3]}']],
    [{ type: ["string", "null"], minLength: 2 }, ["null", '"😀a"'], ['"😀"', "2"]],
    [{ format: "date" }, ['"2024-02-29"'], ['"2023-02-29"', '"x"']],
    [{ format: "date-time" }, ['"2024-02-29T10:00:00Z"'], ['"2024-02-29T10:00"']],
    [{ format: "email" }, ['"a@b"'], ['"a"']],
    [{ format: "unheard-of" }, ['"a"'], []],
    [{ uniqueItems: true }, ["[1,2]"], ["[1,1.0]", '[{"a":1,"b":2},{"b":2,"a":1}]']],
    [{ contains: { const: 1 }, maxContains: 1 }, ["[1.0,2]"], ["[2]", "[1,1]"]],
    [{ propertyNames: { maxLength: 1 } }, ['{"a":1}'], ['{"ab":1}']],
    [{ patternProperties: { "^x": { type: "number" } } }, ['{"x":1,"y":""}'], ['{"x":""}']],
    // biome-ignore lint/suspicious/noThenProperty: that is what the keyword is called
    [{ if: { const: 1 }, then: false, else: { type: "number" } }, ["2"], ["1", '"a"']],
    [{ dependentRequired: { b: ["c"] } }, ['{"b":1,"c":1}', "{}"], ['{"b":1}']],
    [{ properties: { constructor: { type: "number" } } }, ["{}"], ['{"constructor":""}']],
    [{ required: ["toString"] }, ['{"toString":1}'], ["{}"]],
  ])("fits a schema or does not: %j (H27)", (schema, fitting, others) => {
    for (const value of fitting) expect(errorsOf(schema, value), value).toEqual([]);
    for (const value of others) expect(errorsOf(schema, value), value).not.toEqual([]);
  });

  it("fits a schema if another checker says so", () => {
    const leaf = fc.constantFrom<JsonObject>(
      { type: "string" },
      { type: "integer", minimum: 1 },
      { type: ["number", "null"], exclusiveMaximum: 2 },
      { const: "a" },
      { enum: [1, "b", [1]] },
      { minLength: 2 },
      { multipleOf: 2 },
      { type: "boolean" },
    );
    const { schema } = fc.letrec<{ schema: JsonObject }>((tie) => ({
      schema: fc.oneof(
        { depthSize: "small" },
        leaf,
        fc.record({ anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
        fc.record({ oneOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
        fc.record({ allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }) }),
        fc.record({ not: tie("schema") }),
        // biome-ignore lint/suspicious/noThenProperty: the same
        fc.record({ if: tie("schema"), then: tie("schema"), else: tie("schema") }),
        fc.record({ items: tie("schema"), minItems: fc.nat(2) }),
        fc.record({
          prefixItems: fc.array(tie("schema"), { minLength: 1 }),
          uniqueItems: fc.boolean(),
        }),
        fc.record({ contains: tie("schema"), minContains: fc.nat(2) }),
        fc.record(
          {
            properties: fc.record({ a: tie("schema"), b: tie("schema") }, { requiredKeys: [] }),
            required: fc.subarray(["a", "c"]),
            additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
          },
          { requiredKeys: ["properties"] },
        ),
      ) as fc.Arbitrary<JsonObject>,
    }));
    const { value } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom<Json>(null, true, 0, 1, 2, 1.5, "", "a", "b", "ab"),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom("a", "b", "c"), tie("value")),
      ) as fc.Arbitrary<Json>,
    }));
    fc.assert(
      fc.property(schema, value, (schema, value) => {
        const input = { type: "object", properties: { v: schema } };
        const found = schemaOf(input).errorsOf({ v: value }, [], 1_000);
        const { valid } = new Validator(input as object, "2020-12").validate({ v: value });
        expect(found.length === 0, JSON.stringify({ schema, value, found })).toBe(valid);
      }),
      { numRuns: 1_000 },
    );
  });

  it("is told what is wrong where, in words that say what to do (H27a)", () => {
    expect(errorsOf({ type: "integer" }, "1.5")).toEqual(["/input/a: must be a whole number"]);
    expect(errorsOf({ minimum: 64 }, "1")).toEqual(["/input/a: must be 64 or more"]);
    expect(errorsOf({ oneOf: [{ const: "x", title: "X" }, { const: "y" }] }, '"z"')).toEqual([
      '/input/a: must be one of "x", "y"',
    ]);
    expect(errorsOf({ anyOf: [{ type: "integer", maximum: 3 }, { type: "null" }] }, "7")).toEqual([
      "/input/a: must be 3 or less",
    ]);
    expect(errorsOf({ anyOf: [{ type: "integer" }, { type: "null" }] }, '"7"')).toEqual([
      "/input/a: must be a whole number or null",
    ]);
    expect(errorsOf({}, "1", { required: ["b/c"], additionalProperties: false })).toEqual([
      "/input/b~1c: is missing",
    ]);
    expect(errorsOf({ items: { type: "object", required: ["x"] } }, "[{},{}]")).toEqual([
      "/input/a/0/x: is missing",
      "/input/a/1/x: is missing",
    ]);
    const extra = schemaOf({ type: "object", additionalProperties: false });
    expect(extra.errorsOf({ wdith: 1 }, [], 10)).toEqual([
      { path: "/input/wdith", message: "is not known here: leave it out" },
    ]);
  });

  it("has ten errors at most, with names of bounded length (H27a)", () => {
    const schema = schemaOf({ type: "object", additionalProperties: { type: "number" } });
    const input = Object.fromEntries(
      Array.from({ length: 50 }, (_, n) => [`${n}${"x".repeat(9_999)}`, ""]),
    );
    const errors = schema.errorsOf(input, [], 500_000);
    expect(errors).toHaveLength(10);
    expect(Math.max(...errors.map(({ path }) => path.length))).toBeLessThan(300);
  });

  it("is not checked for hours, whatever the schema (H27e)", () => {
    const nest = (depth: number): JsonObject =>
      depth === 0
        ? { type: "array", items: { type: "string" } }
        : { anyOf: [nest(depth - 1), nest(depth - 1)] };
    const begun = performance.now();
    const items = `[${Array.from({ length: 100_000 }, (_, n) => n).join()}]`;
    const wide = schemaOf({ type: "object", properties: { a: nest(8) } });
    const errors = wide.errorsOf(parseExact(`{"a":${items}}`) as JsonObject, [], items.length);
    expect(errors).toHaveLength(1);
    expect(errorsOf({ uniqueItems: true }, items)).toEqual([]);
    expect(
      errorsOf({ pattern: "^(a+)+$" }, JSON.stringify(`${"a".repeat(400_000)}b`)),
    ).toHaveLength(1);
    const deep = { $defs: { n: { items: { $ref: "#/$defs/n" } } }, $ref: "#/$defs/n" };
    const nested = `${"[".repeat(60)}${"]".repeat(60)}`;
    expect(errorsOf({ $ref: "#/$defs/n" }, nested, { $defs: deep.$defs })).toEqual([]);
    expect(performance.now() - begun).toBeLessThan(3_000);
  });

  it("that is large and fits is checked whole", () => {
    const rows = Array.from({ length: 5_000 }, (_, n) => ({
      id: n,
      name: `row ${n}`,
      tags: ["a"],
    }));
    const row = {
      type: "object",
      properties: {
        id: { type: "integer" },
        name: { type: "string", pattern: "^row \\d+$" },
        tags: { type: "array", items: { anyOf: [{ type: "string" }, { type: "null" }] } },
      },
      required: ["id"],
      additionalProperties: false,
    };
    expect(errorsOf({ type: "array", items: row }, JSON.stringify(rows))).toEqual([]);
  });
});

describe("the files of a submit", () => {
  const schema = schemaOf({
    type: "object",
    properties: {
      photo: { type: "string", format: "image" },
      papers: {
        type: "array",
        minItems: 2,
        maxItems: 3,
        items: { type: "string", format: "file" },
      },
      sound: { anyOf: [{ type: "string", format: "audio" }, { type: "null" }] },
      scan: { type: "string", format: "file", contentMediaType: "application/pdf" },
    },
    required: ["photo"],
    additionalProperties: false,
  });
  const png: GivenFile = { field: "photo", content_type: "image/png" };
  const paper: GivenFile = { field: "papers", content_type: "text/plain" };
  const errorsOf = (files: GivenFile[], input: JsonObject = {}) =>
    schema.errorsOf(input, files, 100).map(({ path, message }) => `${path}: ${message}`);

  it("are those of the schema's fields, as many and of such types as it says (H27d)", () => {
    expect(errorsOf([png])).toEqual([]);
    expect(errorsOf([png, paper, paper])).toEqual([]);
    expect(errorsOf([{ ...png, content_type: "application/octet-stream" }])).toEqual([]);
    expect(errorsOf([png, { field: "sound", content_type: "audio/webm;codecs=opus" }])).toEqual([]);
    expect(errorsOf([])).toEqual(["/files/photo: is missing"]);
    expect(errorsOf([], { photo: "x.png" })).toEqual([
      "/input/photo: must be sent as a file of a form",
    ]);
    expect(errorsOf([png, png])).toEqual(["/files/photo: must be one file"]);
    expect(errorsOf([png, paper])).toEqual(["/files/papers: must be 2 files or more"]);
    expect(errorsOf([png, paper, paper, paper, paper])).toEqual([
      "/files/papers: must be 3 files at most",
    ]);
    expect(errorsOf([{ ...png, content_type: "text/html" }])).toEqual([
      "/files/photo: must be an image",
    ]);
    expect(errorsOf([png, { field: "scan", content_type: "image/png" }])).toEqual([
      "/files/scan: must be a file of the type application/pdf",
    ]);
    expect(errorsOf([png, { field: "file", content_type: "text/plain" }])).toEqual([
      "/files/file: is no field for files: leave it out",
    ]);
  });
});
