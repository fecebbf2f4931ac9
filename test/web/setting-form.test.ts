import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ROOT } from "../../scripts/local.ts";
import { DEFAULT_SETTINGS, spaceSettings } from "../../src/protocol/resources.ts";
import {
  changesOf,
  draftOf,
  factsOf,
  fieldGroups,
  fieldOf,
  longTime,
  problemOf,
  problemsOf,
  rebase,
  type Settings,
  settingsOf,
  shown,
  valueIn,
} from "../../src/web/setting-form.ts";
import { EXPLAINED } from "../../src/web/setting-texts.ts";

const NAMES = Object.keys(spaceSettings.shape);
const DEFAULTS: Settings = DEFAULT_SETTINGS;

describe("the fields of a space's settings", () => {
  test.each(NAMES)("explain %s in one sentence", (name) => {
    const text = EXPLAINED.get(name);
    expect(text, `src/web/setting-texts.ts has no text for ${name}`).toBeDefined();
    expect(text?.text).toMatch(/^[A-Z].*\.$/);
    const { input, isNullable } = fieldOf(name);
    if (isNullable) expect(text?.ifEmpty, `what an empty ${name} means`).toBeDefined();
    if (input.kind === "choice") {
      expect(Object.keys(text?.choices ?? {}), name).toEqual(expect.arrayContaining(input.options));
    }
  });

  test("are all there, each once, with its default", () => {
    const fields = fieldGroups().flatMap(({ fields }) => fields);
    expect(fields.map(({ name }) => name).sort()).toEqual([...NAMES].sort());
    expect(factsOf(fieldOf("max_workers"))).toEqual(["workers, 1 to 64", "default: 1"]);
    expect(factsOf(fieldOf("stall_timeout_s"))).toEqual([
      "seconds, up to 604,800",
      "empty: no limit",
      "default: empty",
    ]);
    expect(factsOf(fieldOf("enable_prompt"))).toEqual(["default: on"]);
  });

  test("show a setting that nobody has explained yet", () => {
    const [others] = fieldGroups([]);
    expect(others?.title).toBe("Other settings");
    expect(others?.fields.map(({ name }) => name)).toEqual(NAMES);
  });

  test.each(NAMES)("stand for %s, which docs/api.md describes", (name) => {
    const rows = readFileSync(join(ROOT, "docs/api.md"), "utf8").split("\n");
    const row = rows.find(
      (line) => line.startsWith("| `") && line.split("|")[1]?.includes(`\`${name}\``),
    );
    expect(row, `the table of settings in docs/api.md lacks ${name}`).toBeDefined();
  });

  test("say what is wrong in the words of the edge, and nothing of what is right", () => {
    expect(problemsOf(draftOf(DEFAULTS))).toEqual({});
    expect(problemOf("max_workers", "65")).toBe("Must be 64 or less.");
    expect(problemOf("max_workers", "two")).toBe("Must be a number.");
    expect(problemOf("max_workers", "1.5")).toBe("Must be a whole number.");
    expect(problemOf("max_workers", "")).toBe("Is missing.");
    expect(problemOf("title", "x".repeat(121))).toBe("Must have 120 characters at most.");
    expect(problemOf("reconnect_grace_s", "-1")).toBe("Must be 0 or more.");
  });

  test("stand for no limit only if they are empty, never because of a typing mistake", () => {
    expect(valueIn("stall_timeout_s", "  ")).toBeNull();
    for (const typed of ["no", "3,600", "1e3", "0x10", "--1", "5 s"]) {
      expect(problemOf("stall_timeout_s", typed), typed).toBe("Must be a number.");
    }
    expect(valueIn("stall_timeout_s", " 2.5 ")).toBe(2.5);
  });

  test("show long times in hours, and values as people read them", () => {
    expect(longTime("result_ttl_s", "86400")).toBe("24 h");
    expect(longTime("result_ttl_s", "x")).toBe("");
    expect(longTime("max_queue", "86400")).toBe("");
    expect(shown("stall_timeout_s", null)).toBe("no limit");
    expect(shown("enable_audio", true)).toBe("on");
  });
});

const settings = fc.record({
  title: fc.string({ maxLength: 4 }),
  max_queue: fc.integer({ min: 1, max: 4 }),
  stall_timeout_s: fc.option(fc.integer({ min: 1, max: 3 })),
  enable_audio: fc.boolean(),
  offline: fc.constantFrom("refuse", "queue"),
});

describe("a form that is sent", () => {
  test("has nothing to send before anything is edited, and exactly what was edited after", () => {
    fc.assert(
      fc.property(settings, settings, (base: Settings, wanted: Settings) => {
        expect(changesOf(base, draftOf(base))).toEqual({});
        expect({ ...base, ...changesOf(base, draftOf(wanted)) }).toEqual(wanted);
      }),
    );
  });

  test("never undoes what somebody else has changed meanwhile", () => {
    fc.assert(
      fc.property(
        settings,
        settings,
        settings,
        (base: Settings, mine: Settings, theirs: Settings) => {
          const edited = changesOf(base, draftOf(mine));
          const { draft, changed, conflicts } = rebase(base, draftOf(mine), theirs);
          const sent = changesOf(theirs, draft);
          for (const name of Object.keys(base)) {
            if (!(name in edited)) expect(sent).not.toHaveProperty(name);
            if (name in sent) expect(sent[name]).toBe(mine[name]);
            const isConflict =
              changed.includes(name) && name in edited && mine[name] !== theirs[name];
            expect(conflicts.includes(name)).toBe(isConflict);
          }
        },
      ),
    );
  });

  test("knows the settings among the fields of a space", () => {
    const space = { ...DEFAULT_SETTINGS, name: "attic", created_at: "", status: {} };
    expect(settingsOf(space)).toEqual(DEFAULT_SETTINGS);
  });
});
