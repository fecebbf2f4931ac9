import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { inBatches } from "../../src/protocol/batches.ts";
import { decodeFrame, decodeFrames, type Json } from "../../src/protocol/codec.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const note = z.discriminatedUnion("type", [
  z.object({ type: z.literal("note"), text: z.string() }),
  z.strictObject({ type: z.literal("bare"), ref: z.number().optional() }),
]);

const good = fc.oneof(
  fc.record({ type: fc.constant("note"), text: fc.string() }),
  fc.record({ type: fc.constant("bare") }),
);
const anything = fc.oneof(good, fc.jsonValue() as fc.Arbitrary<Json>);

function nested(depth: number): Json {
  return depth === 0 ? 1 : [nested(depth - 1)];
}

describe("frames that are sent together", () => {
  it("are decoded as they were, in their order (C6)", () => {
    fc.assert(
      fc.property(fc.array(good, { maxLength: 30 }), (frames) => {
        const messages = inBatches(frames.map((frame) => JSON.stringify(frame)));
        const read = messages.flatMap((message) => decodeFrames(message, note));
        expect(read).toEqual(JSON.parse(JSON.stringify(frames)).map(ok));
      }),
    );
  });

  it("are one message unless that would be larger than a frame may be", () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(lengths, fc.constantFrom("x", "é", "€"), (all, character) => {
        const texts = all.map((length) => `"${character.repeat(length)}"`);
        const messages = inBatches(texts);
        expect(messages.flatMap((text) => JSON.parse(text).frames ?? [JSON.parse(text)])).toEqual(
          texts.map((text) => JSON.parse(text)),
        );
        for (const message of messages) {
          expect(Buffer.byteLength(message)).toBeLessThanOrEqual(LIMITS.frameBytes);
        }
        const total = texts.reduce((sum, text) => sum + text.length, 0);
        if (texts.length > 0 && total <= 262_144) expect(messages.length).toBe(1);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a message on a socket with `?batch=1`", () => {
  it("is decoded frame by frame, each as it would be alone (C6b)", () => {
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 20 }), (frames) => {
        const read = decodeFrames(JSON.stringify({ type: "batch", frames }), note);
        expect(read).toEqual(frames.map((frame) => decodeFrame(JSON.stringify(frame), note)));
      }),
    );
  });

  it("that isn't a batch is one frame", () => {
    fc.assert(
      fc.property(anything, (frame) => {
        fc.pre((frame as { type?: Json } | null)?.type !== "batch");
        const raw = JSON.stringify(frame);
        expect(decodeFrames(raw, note)).toEqual([decodeFrame(raw, note)]);
      }),
    );
  });

  it.each([
    { type: "batch" },
    { type: "batch", frames: {} },
    { type: "batch", frames: new Array(LIMITS.batchFrames + 1).fill({ type: "bare" }) },
  ])("is malformed if its batch has no list of frames, or too many of them (C6a)", (message) => {
    const read = decodeFrames(JSON.stringify(message), note);
    expect(read).toMatchObject([{ ok: false, code: "malformed_frame" }]);
  });

  it("may not have a batch in a batch, nor a frame that is nested too deep (C6b, C3)", () => {
    const frames = [{ type: "batch", frames: [] }, nested(LIMITS.jsonDepth + 1), { type: "bare" }];
    const read = decodeFrames(JSON.stringify({ type: "batch", frames }), note);
    expect(read).toMatchObject([
      { code: "unknown_frame" },
      { code: "malformed_frame" },
      { ok: true },
    ]);
  });

  it("has a size limit as a whole (C6a)", () => {
    const frames = Array.from({ length: 3 }, () => ({ type: "note", text: "x".repeat(400_000) }));
    const read = decodeFrames(JSON.stringify({ type: "batch", frames }), note);
    expect(read).toMatchObject([{ ok: false, code: "frame_too_large" }]);
  });
});

function ok(frame: Json) {
  return { ok: true, frame };
}
