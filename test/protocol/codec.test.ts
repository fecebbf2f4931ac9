import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { byteLength, decodeFrame, decodeFrames, parseJson } from "../../src/protocol/codec.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { anyText } from "./noise.ts";

const note = z.discriminatedUnion("type", [
  z.object({ type: z.literal("note"), text: z.string() }),
  z.strictObject({ type: z.literal("bare") }),
]);

/** A frame of exactly `bytes` bytes, filled with `character`. */
function frameOfBytes(bytes: number, character: string): string {
  const size = Buffer.byteLength(character);
  const room = bytes - '{"type":"note","text":""}'.length;
  const text = character.repeat(Math.floor(room / size)) + "x".repeat(room % size);
  return `{"type":"note","text":"${text}"}`;
}

describe("a frame", () => {
  it("is decoded into the type that it names", () => {
    expect(decodeFrame('{"type":"note","text":"hi"}', note)).toEqual({
      ok: true,
      frame: { type: "note", text: "hi" },
    });
  });

  it("of bytes is refused as binary (C3)", () => {
    const bytes = new TextEncoder().encode('{"type":"bare"}').buffer;
    expect(decodeFrame(bytes, note)).toMatchObject({ ok: false, code: "binary_frame" });
  });

  it.each(["a", "é", "€", "\u{1f41d}"])(
    "has a size limit in bytes, not in characters: %s (C3)",
    (character) => {
      const largest = frameOfBytes(LIMITS.frameBytes, character);
      expect(decodeFrame(largest, note).ok).toBe(true);
      expect(decodeFrame(`${largest} `, note)).toMatchObject({ code: "frame_too_large" });
    },
  );

  it.each(["", "{", "nul", "{'type':'note'}", '{"type":"note","text":"a', "[[[[", "]]]]"])(
    "that isn't JSON is malformed: %s",
    (raw) => {
      const decoded = decodeFrame(raw, note);
      expect(decoded).toMatchObject({ code: "malformed_frame", message: "Not valid JSON." });
    },
  );

  it.each(["null", "1", '"note"', "[]", '[{"type":"note"}]', "true"])(
    "that isn't an object is malformed: %s",
    (raw) => {
      expect(decodeFrame(raw, note)).toMatchObject({ ok: false, code: "malformed_frame" });
    },
  );

  it.each(["{}", '{"type":"other"}', '{"type":5}', '{"type":null}', '{"type":"__proto__"}'])(
    "without a known type is an unknown frame: %s",
    (raw) => {
      expect(decodeFrame(raw, note)).toMatchObject({ ok: false, code: "unknown_frame" });
    },
  );

  it("with a wrong field is malformed, and the message names the field", () => {
    expect(decodeFrame('{"type":"note","text":5}', note)).toMatchObject({
      code: "malformed_frame",
      message: "text: must be text",
    });
  });

  it("with an unknown field is malformed if its type allows none", () => {
    expect(decodeFrame('{"type":"bare","more":1}', note)).toMatchObject({
      code: "malformed_frame",
      message: expect.stringContaining("more"),
    });
  });
});

describe("a frame that is nested", () => {
  const data = z.object({ type: z.literal("data"), data: z.unknown() });
  const nested = (depth: number) =>
    `{"type":"data","data":${"[".repeat(depth)}${"]".repeat(depth)}}`;

  it("deeper than the limit is malformed, alone and in a batch, whose other frames are taken (C3)", () => {
    // The frame itself is one level.
    const [deepest, tooDeep] = [nested(LIMITS.jsonDepth - 1), nested(LIMITS.jsonDepth)];
    const refused = {
      ok: false,
      code: "malformed_frame",
      message: "JSON may be nested 64 levels at most.",
    };
    expect(decodeFrame(deepest, data).ok).toBe(true);
    expect(decodeFrame(tooDeep, data)).toMatchObject(refused);
    const batch = `{"type":"batch","frames":[${tooDeep},${deepest}]}`;
    expect(decodeFrames(batch, data)).toMatchObject([refused, { ok: true }]);
  });
});

describe("JSON from outside", () => {
  it("is parsed as JSON.parse parses it", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (text) => {
        expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });

  it("may be nested as deep as the limit, in objects and arrays alike, and no deeper (C3)", () => {
    const nested = (depth: number) => '{"a":['.repeat(depth / 2) + "]}".repeat(depth / 2);
    expect(parseJson(nested(LIMITS.jsonDepth)).ok).toBe(true);
    expect(parseJson(`[${nested(LIMITS.jsonDepth)}]`)).toEqual({
      ok: false,
      message: "JSON may be nested 64 levels at most.",
    });
  });

  it("may have any number of values side by side", () => {
    expect(parseJson(`[${"[],".repeat(1_000)}[]]`).ok).toBe(true);
  });

  it("doesn't count brackets in strings as nesting", () => {
    const brackets = fc.string({
      unit: fc.constantFrom("[", "{", '"', "\\", "]", "a"),
      maxLength: 80,
    });
    fc.assert(
      fc.property(brackets, (text) => {
        const value = { [text]: [text] };
        expect(parseJson(JSON.stringify(value))).toEqual({ ok: true, value });
      }),
    );
  });

  it("counts brackets after a string as nesting, even if the string has escaped quotes", () => {
    const deep = "[".repeat(LIMITS.jsonDepth + 1);
    const quoted = JSON.stringify([`"${deep}`, `\\"${deep}`]);
    expect(parseJson(quoted)).toMatchObject({ ok: true });
    const closed = deep + "]".repeat(deep.length);
    const notQuoted = parseJson(`["\\\\",${closed}]`);
    expect(notQuoted).toMatchObject({ message: expect.stringMatching("nested") });
  });

  it("of a million brackets is refused without a stack overflow", () => {
    expect(parseJson("[".repeat(1_000_000)).ok).toBe(false);
    expect(parseJson("[".repeat(500_000) + "]".repeat(500_000)).ok).toBe(false);
    expect(parseJson(`${'{"a":'.repeat(200_000)}1${"}".repeat(200_000)}`).ok).toBe(false);
    expect(parseJson("]".repeat(500_000) + "[".repeat(500_000)).ok).toBe(false);
  });

  it("never makes the parser throw, whatever it is", () => {
    const pieces = fc.string({
      unit: fc.constantFrom(...'{}[]"\\:,-0e.1tnfu\u0000\ud800\u2028 '),
    });
    fc.assert(
      fc.property(fc.oneof(pieces, anyText()), (text) => {
        const parsed = parseJson(text);
        if (!parsed.ok) expect(() => JSON.parse(text)).toThrow();
      }),
      { numRuns: 500 },
    );
  });
});

describe("the length of a text", () => {
  it("is its number of bytes in UTF-8", () => {
    fc.assert(
      fc.property(anyText({ maxLength: 200 }), (text) => {
        expect(byteLength(text)).toBe(Buffer.byteLength(text));
      }),
    );
  });

  it("changes with the size of a character exactly where UTF-8 changes it", () => {
    const points = [0x00, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff];
    const sizes = points.map((point) => byteLength(String.fromCodePoint(point)));
    expect(sizes).toEqual([1, 1, 2, 2, 3, 3, 3, 3, 4, 4]);
  });
});
