import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ONE_JOB, ProgramLineReader } from "../../worker-client/adapters/program-frames.ts";
import { JsonText } from "../../worker-client/json-text.ts";

const DEEP = "[".repeat(70) + "]".repeat(70);

function read(...lines: string[]) {
  const reader = new ProgramLineReader(ONE_JOB);
  return lines.map((line) => reader.read(line)).at(-1);
}

describe("a line that is meant as a frame and isn't one", () => {
  test.each([
    ['{"type":"result","output":NaN}', "malformed", "NaN"],
    ['{"type":"result","output":[1,Infinity]}', "malformed", "Infinity"],
    ['{"output":-Infinity,"type":"result"}', "malformed", "-Infinity"],
    ['\ufeff{"type":"result","output":1}', "malformed", "byte order mark"],
    [`{"type":"result","output":${DEEP}}`, "malformed", "64 levels"],
    [`{"type":"output","delta":${DEEP}}`, "malformed", "64 levels"],
    ["{'type': 'result', 'output': None}", "malformed", "single quotes"],
    ["{'type': 'progress', 'progress': 5}", "malformed", "single quotes"],
    ['{"type":"result","output":1,}', "malformed", "comma"],
    ['{"type":"result","output":{"a":1}', "malformed", "too early"],
    ['{"type":"result"', "malformed", "too early"],
    ['{"type":"result', "malformed", "too early"],
    ["{ type: 'result', output: [ 1 ] }", "malformed", "JSON.stringify()"],
    ['{"type"=>"result", "output"=>1}', "malformed", "not valid JSON"],
    ['{"type":"output","delta":"cut o', "malformed", "too early"],
    ['{"type":"output","delta":1}{"type":"result","output":2}', "malformed", "after its end"],
    ['{type:"result",output:1}', "malformed", "double quotes"],
    ['  {"type":"progress","progress":NaN}', "malformed", "NaN"],
    ['{"type":"progress","progress":"50"}', "malformed", "progress: must be a number"],
    ['{"type":"progress","progress":null}', "malformed", "progress: must be a number"],
    ['{"type":"progress","progress":1e999}', "malformed", "progress: "],
    ['{"type":"result","output":1,"metrics":[]}', "malformed", "metrics: must be a JSON object"],
  ])("is an error that shows it and what is wrong: %s", (line, type, words) => {
    const found = read(line);
    expect(found).toMatchObject({ type, message: expect.stringContaining(words) });
    expect(found).toMatchObject({ message: expect.stringContaining(line.slice(0, 20)) });
  });

  test("is an error if it is written over several lines", () => {
    expect(read("{\n", '  "type": "result",\n')).toMatchObject({
      type: "malformed",
      message: expect.stringContaining("in one line"),
    });
  });

  test("is an error if JavaScript printed an object over several lines", () => {
    expect(read("{\r\n", "  type: 'result',\r\n")).toMatchObject({ type: "malformed" });
  });

  test("is shown shortened if it is long", () => {
    const found = read(`{"type":"result","output":"${"x".repeat(9_000)}`);
    expect(found?.type === "malformed" && found.message.length).toBeLessThan(300);
  });
});

describe("a line that is a frame", () => {
  test.each([
    ['{"type":"output","delta":1.0}', "delta", "1.0"],
    ['{"type":"result","output":[18446744073709551615]}', "output", "[18446744073709551615]"],
    ['{"type":"result","output":1,"metrics":{"a":1e400}}', "metrics", '{"a":1e400}'],
  ])("keeps the digits of its numbers: %s (H18)", (line, field, text) => {
    const found = read(line);
    expect(found).toMatchObject({ type: "frame", frame: { [field]: new JsonText(text) } });
  });
});

describe("a line of text", () => {
  test.each([
    "{not json",
    "{",
    "{}",
    '{"type":"weather"}',
    '{"type":"resul',
    '{"type":"results',
    '{"type":"weather","output":NaN}',
    '{"kind":"result","output":NaN}',
    '{"a":{"type":"result"},"b":NaN}',
    '{"a":"{\\"type\\":\\"result\\"}',
    '{"type":"result" is what a program writes}',
    '{ "type" } or {type: result}',
    '{"type":["result"]}',
    "{'quoted' by a person}",
    'he wrote {"type":"result","output":NaN}',
    "[NaN]",
    "NaN",
  ])("stays text: %s", (line) => {
    expect(read(line)).toEqual({ type: "text" });
  });

  test("stays text over several lines, if it isn't meant as a frame", () => {
    expect(read("{\n", '  "type": "object",\n')).toEqual({ type: "text" });
    expect(read("{\n", "x\n", '  "type": "result",\n')).toEqual({ type: "text" });
  });

  test("never makes the reader fail", () => {
    const piece = fc.constantFrom(...`{}[]",:'\\ 1\n`, '"type"', '"result"', "NaN");
    fc.assert(
      fc.property(fc.array(fc.string({ unit: piece })), (lines) => {
        const reader = new ProgramLineReader(ONE_JOB);
        for (const line of lines) {
          const found = reader.read(line);
          if (!/type/.test(line)) expect(found.type).toBe("text");
        }
      }),
    );
  });
});
