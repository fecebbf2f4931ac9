import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Pattern } from "../../src/schema/pattern.ts";

/** Parts of expressions and of texts from few characters, so that they match often. */
const atom = fc.constantFrom(
  "a",
  "b",
  ".",
  "[ab]",
  "[^a]",
  "\\w",
  "\\d",
  "\\b",
  "1",
  "-",
  "é",
  "😀",
);
const expression = fc.letrec<{ any: string; one: string }>((tie) => ({
  any: fc
    .array(tie("one"), { minLength: 1, maxLength: 4 })
    .map((parts) => parts.join(""))
    .chain((text) => fc.constantFrom(text, `${text}|b`, `^${text}`, `${text}$`, `^${text}$`)),
  one: fc
    .tuple(
      fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        atom,
        tie("any").map((inner) => `(${inner})`),
      ),
      fc.constantFrom("", "", "", "*", "+", "?", "*?", "{2}", "{1,}", "{0,2}", "{0}"),
    )
    .map(([part, times]) => (part === "\\b" ? part : part + times)),
})).any;
const text = fc
  .array(fc.constantFrom("a", "b", "1", "-", "é", "😀", " ", "\n"), { maxLength: 8 })
  .map((parts) => parts.join(""));

function matches(source: string, value: string): boolean {
  return new Pattern(source).matches(value, () => undefined);
}

function whyNot(source: string): string {
  try {
    new Pattern(source);
    return "taken";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("a pattern", () => {
  it("matches what the engine's own expression matches", () => {
    fc.assert(
      fc.property(expression, text, (source, value) => {
        expect(matches(source, value), `/${source}/ on ${JSON.stringify(value)}`).toBe(
          new RegExp(source, "u").test(value),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ["^(a+)+$", `${"a".repeat(5_000)}b`],
    ["^(([a-z])+.)+[A-Z]([a-z])+$", "a".repeat(5_000)],
    ["(x+x+)+y", "x".repeat(5_000)],
    ["^(?:a?){100}a{100}$", `${"a".repeat(99)}`],
  ])(
    "takes steps in proportion to the text, where others would take hours: %s",
    (source, value) => {
      let steps = 0;
      const pattern = new Pattern(source);
      pattern.matches(value, (more) => {
        steps += more;
      });
      expect(steps / value.length).toBeLessThan(700);
    },
  );

  it("may begin with groups that look ahead, as libraries write email addresses", () => {
    const email =
      "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$";
    const engine = new RegExp(email);
    for (const value of ["a@b.org", "a..b@c.org", ".a@b.org", "a@b", "a+b@c-d.example"]) {
      expect(matches(email, value), value).toBe(engine.test(value));
    }
    expect(matches("^(?=.*b)a+", "aab")).toBe(true);
    expect(matches("^(?=.*b)a+", "aa")).toBe(false);
  });

  it("that can't be followed in one go is refused with what to do", () => {
    expect(whyNot("(a)\\1")).toContain("write it without");
    expect(whyNot("a(?=b)")).toContain("write it without");
    expect(whyNot("^(?!a)b|c")).toContain("write it without");
    expect(whyNot("(?<n>a)\\k<n>")).toContain("write it without");
    expect(whyNot("(a{1,1000}){1,1000}")).toContain("steps");
    expect(whyNot("a{1,9999999999}")).toContain("steps");
    expect(whyNot("(")).toBe("must be a regular expression");
    expect(whyNot("(".repeat(500) + ")".repeat(500))).toContain("nested too deep");
    expect(whyNot("(){1000000}")).toBe("taken");
    expect(whyNot("^[\\w-]+\\-\\d{4}$")).toBe("taken");
    expect(whyNot("\\p{Lu}\\u{1F600}\\ud83d\\ude00")).toBe("taken");
  });
});
