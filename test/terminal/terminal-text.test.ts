import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { oneLine, TerminalCleaner } from "../../terminal/terminal-text.ts";

/** Text with much in it that a terminal obeys. */
const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom("\u001b[31m", "\u001b]0;title\u0007", "\u001b]52;c;aGk=\u001b\\", "\u001bc"),
      fc.constantFrom(
        "\u001b",
        "\u009b",
        "\r",
        "\b",
        "\u202e",
        "\u001b[",
        "\u001b]",
        "\n",
        "\u007f",
      ),
      fc.string({ unit: "binary", maxLength: 5 }),
      fc.string({ maxLength: 5 }),
    ),
  )
  .map((parts) => parts.join(""));

/** Cuts a text into pieces at any places, but for inside of a character. */
function inPieces(text: string, sizes: readonly number[]): string[] {
  const characters = [...text];
  const pieces: string[] = [];
  for (let at = 0, turn = 0; at < characters.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    pieces.push(characters.slice(at, at + size).join(""));
    at += size;
  }
  return pieces;
}

const cleaned = (...pieces: string[]) => {
  const cleaner = new TerminalCleaner();
  return pieces.map((piece) => cleaner.clean(piece)).join("");
};

describe("text for a terminal", () => {
  it("has nothing left that a terminal obeys but tabs and line breaks", () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(cleaned(text)).toMatch(/^[\t\n\P{Cc}]*$/u);
        expect(cleaned(text)).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/u);
      }),
    );
  });

  it("is the same in whatever pieces it comes", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(nasty, sizes, (text, lengths) => {
        expect(cleaned(...inPieces(text, lengths))).toBe(cleaned(text));
      }),
    );
  });

  it("that has none of it stays as it is", () => {
    const plain = fc
      .string({ unit: "grapheme" })
      .filter((text) => !/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u.test(text));
    fc.assert(fc.property(plain, (text) => cleaned(text) === text));
  });

  it.each([
    ["\u001b[1;31mred\u001b[0m", "red"],
    ["\u001b]0;a title\u0007shown", "shown"],
    ["\u001b]52;c;aGk=\u001b\\shown", "shown"],
    ["\u001bP1;2|data\u001b\\shown", "shown"],
    ["a\r\nb", "a\nb"],
    ["hid\u0008den", "hid\ufffdden"],
    ["\u001b]0;never ends\nnext line", "\nnext line"],
    ["\u001b(Bshown", "shown"],
  ])("%j becomes %j", (text, shown) => {
    expect(cleaned(text)).toBe(shown);
  });

  it("is hidden no longer than a sequence can be", () => {
    const text = `\u001b]${"x".repeat(1_000)}`;
    expect(cleaned(text).length).toBeGreaterThan(700);
  });

  it("as one line has no line break, and is bounded", () => {
    expect(oneLine("a\n\tb \r\n c")).toBe("a b c");
    expect(oneLine("x".repeat(5_000))).toHaveLength(2_000);
  });
});
