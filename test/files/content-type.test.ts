import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentTypeOf, essenceOf, SNIFFED_BYTES } from "../../src/files/content-type.ts";

function bytes(hex: string, rest = 0): Uint8Array {
  return Uint8Array.from([...Buffer.from(hex, "hex"), ...new Uint8Array(rest)]);
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

const PNG = bytes("89504e470d0a1a0a", 20);
const MP4 = bytes("00000018667479706d703432", 20);
const OGG = bytes("4f67675300", 20);
const ZIP = bytes("504b030414", 20);
const BINARY = bytes("0001020304050607", 20);

describe("the type of a file (W36h)", () => {
  test.each([
    ["a picture with a wrong type", PNG, "text/html", "image/png"],
    ["a picture without a type", PNG, null, "image/png"],
    ["a picture with a type that can't be sent on", PNG, "a\nb", "image/png"],
    ["a type that says more", OGG, "audio/ogg; codecs=opus", "audio/ogg; codecs=opus"],
    ["sound in a container for video", MP4, "audio/mp4", "audio/mp4"],
    ["a video", MP4, "application/octet-stream", "video/mp4"],
    ["a format that is made of a package", ZIP, "application/epub+zip", "application/epub+zip"],
    ["a page that is made of a package", ZIP, "application/xhtml+xml", "application/zip"],
    ["text that says of what kind", text("a,b\n"), "text/csv", "text/csv"],
    ["text that is called a picture", text("<svg>"), "image/png", "text/plain"],
    ["text without a type", text("grüße"), null, "text/plain"],
    ["JSON", text('{"a":1}'), "application/json", "application/json"],
    ["nothing", new Uint8Array(), "image/png", "text/plain"],
    ["bytes that are called a picture", BINARY, "image/png", "application/octet-stream"],
    ["bytes that are called sound", BINARY, "audio/x-mine", "application/octet-stream"],
    ["bytes that are called text", BINARY, "text/plain", "application/octet-stream"],
    ["bytes that are called a page", BINARY, "application/xhtml+xml", "application/octet-stream"],
    ["bytes of a model", BINARY, "model/gltf-binary", "model/gltf-binary"],
  ])("%s", (_what, head, declared, type) => {
    expect(contentTypeOf(head, declared)).toBe(type);
  });

  test("is never one that is shown or played unless the bytes are", () => {
    const declared = fc.constantFrom(
      "image/png",
      "image/x-new",
      "audio/mpeg",
      "video/mp4",
      "video/x-a",
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), declared, (head, type) => {
        const found = essenceOf(contentTypeOf(head, type));
        const unknown = essenceOf(contentTypeOf(head, null));
        if (/^(image|audio|video)\//.test(found)) expect(unknown).toMatch(/^(image|audio|video)\//);
      }),
    );
  });

  test("can always be a header", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 32 }), fc.string({ unit: "binary" }), (head, type) => {
        expect(() => new Headers({ "content-type": contentTypeOf(head, type) })).not.toThrow();
      }),
    );
  });

  test("of text is found although the last character that is looked at is cut", () => {
    const head = text(`a${"ä".repeat(SNIFFED_BYTES)}`).subarray(0, SNIFFED_BYTES);
    expect(contentTypeOf(head, null)).toBe("text/plain");
  });
});
