import { describe, expect, test } from "vitest";
import { readFrames } from "../../worker-client/received-frames.ts";
import { jobFrame } from "../support/fake-edge.ts";

/** A `job` frame as the edge sends it, whose input stands there as this text. */
function jobText(input: string): string {
  return JSON.stringify(jobFrame({ input: {} })).replace('"input":{}', `"input":${input}`);
}

function inputTexts(data: string) {
  return readFrames(data).map((decoded) =>
    decoded.ok && decoded.frame.type === "job" ? decoded.frame.inputText : decoded,
  );
}

describe("the input of a received job", () => {
  test("is kept as text if JavaScript would lose digits of it, and only then (H18)", () => {
    const exact = '{"seed": 18446744073709551615, "x": [1.0]}';
    expect(inputTexts(jobText(exact))).toEqual([exact]);
    expect(inputTexts(jobText('{"seed":7,"text":"1.0"}'))).toEqual([null]);
  });

  test("is found for each job of a batch (C6a)", () => {
    const frames = [jobText('{"a":1.0}'), '{"type":"drain","reason":"."}', jobText('{"b":2.0}')];
    const [first, second, third] = inputTexts(`{"type":"batch","frames":[${frames.join()}]}`);
    expect([first, third]).toEqual(['{"a":1.0}', '{"b":2.0}']);
    expect(second).toMatchObject({ ok: true, frame: { type: "drain" } });
  });
});
