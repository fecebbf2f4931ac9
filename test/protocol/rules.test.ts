import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const RULE = "[WSRMCBHQ]\\d+[a-z]?";

/** docs/protocol.md without its fenced code, in which a `#` begins a comment and not a heading. */
const protocol = readFileSync(join(ROOT, "docs/protocol.md"), "utf8").replace(
  /^```[^\n]*\n[\s\S]*?^```$/gm,
  "",
);

/** The rules that the text defines: each is an item of a list that begins with its number in bold. */
function definedRules(text: string): string[] {
  return [...text.matchAll(new RegExp(`^- \\*\\*(${RULE})\\*\\* `, "gm"))].map(
    ([, rule = ""]) => rule,
  );
}

/** The rules that sentences cite, as in "(W26)" or "S2–S18". A number in bold defines its rule. */
function citedInText(text: string): string[] {
  return text.match(new RegExp(`(?<!\\*\\*|[\\w-])${RULE}(?![\\w-])`, "g")) ?? [];
}

/** The rules that end a title, as in `it("a result sent twice is acknowledged twice (W20, C9)", …)`. */
function citedInTitles(source: string): string[] {
  const citations = source.matchAll(new RegExp(`\\((${RULE}(?:, *${RULE})*)\\)["'\`]`, "g"));
  return [...citations].flatMap(([, rules = ""]) => rules.split(/, */));
}

/** The anchors of the headings as GitHub makes them; a heading that stands again gets a number. */
function anchors(text: string): string[] {
  const seen = new Map<string, number>();
  return [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

/** The anchors of its own headings that a text links to. */
function linkedAnchors(text: string): string[] {
  return [...text.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor = ""]) => anchor);
}

function contents(text: string): string {
  return /^## Contents\n([\s\S]*?)^## /m.exec(text)?.[1] ?? "";
}

describe("the rules of docs/protocol.md", () => {
  const defined = definedRules(protocol);

  it("have a number that is defined exactly once", () => {
    expect(defined.length).toBeGreaterThan(100);
    expect(defined.filter((rule, index) => defined.indexOf(rule) !== index)).toEqual([]);
  });

  it("stand right below the rule whose number they share, in the order of their letters", () => {
    for (const [index, rule] of defined.entries()) {
      const letter = /[a-z]$/.exec(rule)?.[0];
      if (letter === undefined) continue;
      const number = rule.slice(0, -1);
      const previous = letter === "a" ? "" : String.fromCharCode(letter.charCodeAt(0) - 1);
      expect(defined[index - 1], `the rule above ${rule}`).toBe(number + previous);
    }
  });

  it("cite only rules that exist", () => {
    expect(
      citedInText("as S17 says (W7, H10a), from C7–C13; UTF-8 and `W-3` aren't rules"),
    ).toEqual(["S17", "W7", "H10a", "C7", "C13"]);
    expect(citedInText(protocol).filter((rule) => !defined.includes(rule))).toEqual([]);
  });

  it("are the only ones that titles of tests cite", () => {
    expect(
      citedInTitles('it("is acknowledged twice (W20, C9)", f); it("(see H264) there")'),
    ).toEqual(["W20", "C9"]);
    const unknown = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.test\.tsx?$/.test(file) && !file.includes("node_modules"))
      .flatMap((file) =>
        citedInTitles(readFileSync(join(ROOT, "test", file), "utf8"))
          .filter((rule) => !defined.includes(rule))
          .map((rule) => `${file}: ${rule}`),
      );
    expect(unknown).toEqual([]);
  });
});

describe("the contents of docs/protocol.md", () => {
  it("link to headings that exist, and so does every other link within the page", () => {
    expect(anchors("## A `b`: c\n### D\n### D")).toEqual(["a-b-c", "d", "d-1"]);
    expect(linkedAnchors(protocol).filter((anchor) => !anchors(protocol).includes(anchor))).toEqual(
      [],
    );
  });

  it("list every section", () => {
    const listed = linkedAnchors(contents(protocol));
    const [, , ...sections] = anchors(protocol);
    expect(listed).toEqual(sections);
  });
});
