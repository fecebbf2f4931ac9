import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { readSchemaFile } from "../../worker-client/schema-file.ts";
import { startEdge, startWorker } from "./start.ts";

const SCHEMA = {
  input: { type: "object", properties: { width: { type: "integer" } } },
  output: { type: "string", format: "markdown" },
};

async function fileWith(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "dialout-schema-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "schema.json");
  await writeFile(path, text);
  return path;
}

describe("the schema of a worker", () => {
  test("is in every `register` (W35)", async () => {
    const edge = await startEdge();
    startWorker(edge, { schema: SCHEMA, handler: async () => null });
    const first = await edge.connection();
    expect((await first.welcome()).schema).toEqual(SCHEMA);
    first.close(1012);
    expect((await (await edge.connection()).welcome()).schema).toEqual(SCHEMA);
  });

  test("that the edge would refuse is an invalid option", async () => {
    const edge = await startEdge();
    const schema = { input: { type: "string" } };
    expect(() => startWorker(edge, { schema, handler: async () => null })).toThrow(
      '/input/type must be "object"',
    );
  });

  test("is read from a file with every digit", async () => {
    const path = await fileWith('{"output":{"maximum":18446744073709551615,"minimum":1.0}}');
    expect(JSON.stringify(readSchemaFile(path))).toBe(
      '{"output":{"maximum":18446744073709551615,"minimum":1.0}}',
    );
  });

  test.each([
    ["{'input': {}}", "is not JSON: it has single quotes"],
    ['{"type":"object"}', "type"],
    ['{"input":{"type":"object","properties":{"a":{"type":"text"}}}}', "/input/properties/a/type"],
  ])("in a file with %s is refused with the reason", async (text, message) => {
    const path = await fileWith(text);
    expect(() => readSchemaFile(path)).toThrow(message);
  });
});
