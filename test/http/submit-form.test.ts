import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { codingOf, decode } from "../../src/http/content-coding.ts";
import type { FormPart } from "../../src/http/form.ts";
import { ProblemError } from "../../src/http/problems.ts";
import { submitOf as submitOfForm } from "../../src/http/submit-form.ts";

function text(field: string, value: string, type: string | null = null): FormPart {
  return { field, fileName: null, type, bytes: new Uint8Array(Buffer.from(value)) };
}

function submitOf(parts: readonly FormPart[]) {
  const [inputs = [], texts = []] = [true, false].map((isInput) =>
    parts.filter(({ field }) => (field === "input") === isInput),
  );
  return submitOfForm({ inputs, texts, files: [] });
}

function codeOf(call: () => unknown): [string, string] {
  try {
    call();
  } catch (error) {
    if (error instanceof ProblemError) return [error.code, error.message];
    throw error;
  }
  throw new Error("it was accepted");
}

describe("a form that is a submit", () => {
  it("has fields of the input, a list where a field stands twice (H6f)", () => {
    const parts = [text("a", "1"), text("b", "x"), text("b", ""), text("__proto__", "p")];
    const { body, files } = submitOf(parts);
    expect(Object.entries(body.input)).toEqual([
      ["a", "1"],
      ["b", ["x", ""]],
      ["__proto__", "p"],
    ]);
    expect(files).toEqual([]);
  });

  it("has the fields of `input`, of which a part of the same name counts more (H6j)", () => {
    const parts = [text("a", "part"), text("input", '\ufeff{"a":1,"n":12345678901234567890}')];
    const { body } = submitOf(parts);
    expect(body.input.a).toBe("part");
    expect(String(JSON.stringify(body.input))).toContain("12345678901234567890");
  });

  it("has options, each with its type (H6)", () => {
    const parts = [
      text("priority", "5"),
      text("job_timeout_s", " 2.5 "),
      text("cancel_on_disconnect", "true"),
      text("idempotency_key", "7"),
      text("webhook", "https://example.com/hook"),
      text("requires", "gpu, fast"),
      text("requires", "big"),
    ];
    expect(submitOf(parts).body).toEqual({
      input: {},
      priority: 5,
      job_timeout_s: 2.5,
      cancel_on_disconnect: true,
      idempotency_key: "7",
      webhook: expect.anything(),
      requires: ["gpu", "fast", "big"],
    });
  });

  it.each(["0x10", "Infinity", "", "1e", "five", "1,5", "TRUE"])(
    "can't have %j as a number: it is refused, not guessed (H6)",
    (value) => {
      const [code, message] = codeOf(() => submitOf([text("priority", value)]));
      expect([code, message]).toEqual(["invalid_request", expect.stringContaining("priority")]);
    },
  );

  it.each(["1", "-3", "+4", "1e1", " 7 "])("may have %j as a number (H6)", (value) => {
    expect(submitOf([text("priority", value)]).body.priority).toBe(Number(value));
  });

  it("sets no option twice (H6i)", () => {
    const [code, message] = codeOf(() => submitOf([text("priority", "1"), text("priority", "1")]));
    expect([code, message]).toEqual(["invalid_request", expect.stringContaining("twice")]);
  });

  it.each(["[]", "7", "null", '"x"', "{", ""])("has no input %j (H6)", (value) => {
    const [code, message] = codeOf(() => submitOf([text("input", value)]));
    expect([code, message]).toEqual([
      "invalid_request",
      expect.stringContaining("`input` must be a JSON object"),
    ]);
  });
});

describe("a compressed body", () => {
  const BYTES = new Uint8Array(Buffer.from("words ".repeat(100)));
  const own = (bytes: Uint8Array) => new Uint8Array(bytes);

  it.each<[string | undefined, string | null]>([
    [undefined, null],
    ["", null],
    ["identity", null],
    ["gzip", "gzip"],
    [" GZIP ", "gzip"],
    ["x-gzip", "gzip"],
    ["identity, gzip", "gzip"],
    ["deflate", "deflate"],
  ])("as %j is %j", (header, coding) => {
    expect(codingOf(header)).toBe(coding);
  });

  it.each(["br", "gzip, gzip", "gzip, deflate", "toString", "x-gzipped"])(
    "as %j is refused, with the codings that are taken (H3)",
    (header) => {
      try {
        codingOf(header);
        throw new Error("it was accepted");
      } catch (error) {
        expect(error).toBeInstanceOf(ProblemError);
        expect(error).toMatchObject({
          code: "unsupported_media_type",
          headers: { "accept-encoding": "gzip, deflate" },
        });
      }
    },
  );

  it("is read back, with or without zlib's header, up to its limit (H2c)", () => {
    const { length } = BYTES;
    for (const [coding, bytes] of [
      ["gzip", gzipSync(BYTES)],
      ["deflate", deflateSync(BYTES)],
      ["deflate", deflateRawSync(BYTES)],
    ] as const) {
      expect(own(decode(own(bytes), coding, length))).toEqual(BYTES);
      expect(codeOf(() => decode(own(bytes), coding, length - 1))[0]).toBe("payload_too_large");
    }
  });

  it("that is broken, cut off or empty is refused as such (H3)", () => {
    for (const bytes of [BYTES, own(gzipSync(BYTES)).slice(0, -9), new Uint8Array()]) {
      const [code, message] = codeOf(() => decode(bytes, "gzip", 1_000));
      expect([code, message]).toEqual(["invalid_encoding", expect.stringContaining("not gzip")]);
    }
  });
});
