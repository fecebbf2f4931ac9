import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { displayName, shortenName } from "../../src/protocol/file-name.ts";

const segmenter = new Intl.Segmenter("und", { granularity: "grapheme" });

function graphemesOf(text: string): string[] {
  return [...segmenter.segment(text)].map(({ segment }) => segment);
}

/** Characters as people see them, of one code point and of many. */
const CHARACTERS = ["a", "ß", "猫", "𠮷", "é", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "क्‍ष", "می‌", "🇩🇪", "❤️", " ", "_"];

/** Any text, also with lone surrogates, separators of paths and characters that nobody sees. */
const anyName = fc
  .array(
    fc.oneof(
      fc.constantFrom(...CHARACTERS, "/", "\\", ".", "..", "\u202e", "\u0000", "\r\n", "\ufeff"),
      fc.string({ unit: "binary" }),
      fc.integer({ min: 0xd800, max: 0xdfff }).map((unit) => String.fromCharCode(unit)),
    ),
    { maxLength: 200 },
  )
  .map((pieces) => pieces.join(""));

describe("the name of a file", () => {
  it.each([
    ["C:\\Users\\me\\a.txt", "a.txt"],
    ["\\\\server\\share\\a.txt", "a.txt"],
    ["../../etc/passwd", "passwd"],
    ["/etc/", "file"],
    ["..", "file"],
    [" . ", "file"],
    ["\u202e..", "file"],
    ["\u200d", "file"],
    ["", "file"],
    ["a\u0007b\u001b[31m.txt", "ab[31m.txt"],
    ["photo\u202egnp.exe", "photognp.exe"],
    ["\u2066a\u2069.txt", "a.txt"],
    ["a\ud83d.txt", "a\ufffd.txt"],
    ["می‌خواهم.txt", "می‌خواهم.txt"],
    ["क्‍ष.txt", "क्‍ष.txt"],
    ["👩‍💻.png", "👩‍💻.png"],
    ["🏴󠁧󠁢󠁳󠁣󠁴󠁿.png", "🏴󠁧󠁢󠁳󠁣󠁴󠁿.png"],
    ["a\u{e0061}\u{e0062}.png", "a.png"],
    ["Grüße 猫.png", "Grüße 猫.png"],
    ["archive.tar.gz", "archive.tar.gz"],
  ])("%j is shown as %j (H6g)", (sent, shown) => {
    expect(displayName(sent)).toBe(shown);
  });

  it("is never a path, and has no half characters and none that nobody sees, whatever was sent (H6g)", () => {
    fc.assert(
      fc.property(anyName, (sent) => {
        const name = displayName(sent);
        expect(name).toMatch(/^[^/\\\p{Cc}\p{Bidi_Control}]{1,120}$/u);
        expect(name.length).toBeLessThanOrEqual(120);
        expect(name.isWellFormed()).toBe(true);
        expect(["", ".", ".."]).not.toContain(name);
        expect(displayName(name)).toBe(name);
      }),
    );
  });

  it("keeps its end when it is shortened, and is cut between characters (H6g)", () => {
    const name = fc.array(fc.constantFrom(...CHARACTERS), { minLength: 130, maxLength: 300 });
    const end = fc.constantFrom("", ".png", ".jpeg", ".tar.gz", ".TAR.XZ", ".猫");
    fc.assert(
      fc.property(name, end, (characters, extension) => {
        const stem = characters.join("").trim();
        const shown = displayName(stem + extension);
        expect(shown.length).toBeLessThanOrEqual(120);
        expect(shown.endsWith(extension)).toBe(true);
        const kept = graphemesOf(shown.slice(0, shown.length - extension.length));
        expect(graphemesOf(stem).slice(0, kept.length)).toEqual(kept);
        expect(kept.join("").length).toBeGreaterThan(70);
      }),
    );
  });

  it("is cut between code points if it is one single character", () => {
    const long = `e${"\u0301".repeat(500)}`;
    expect(shortenName(`${long}.png`, 20)).toBe(`e${"\u0301".repeat(15)}.png`);
    const emoji = Array.from({ length: 50 }, () => "👩").join("\u200d");
    expect(shortenName(emoji, 60).isWellFormed()).toBe(true);
  });

  it("of the greatest length is kept as it is", () => {
    expect(displayName(`${"x".repeat(116)}.png`)).toBe(`${"x".repeat(116)}.png`);
    expect(displayName(`${"x".repeat(117)}.png`)).toBe(`${"x".repeat(116)}.png`);
    expect(displayName(`${"x".repeat(200)}. And so on`)).toBe("x".repeat(120));
  });
});
